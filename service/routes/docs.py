"""`GET /docs` and `GET /problems`: the API reference and its errors, without scripts or external resources."""

from fastapi import APIRouter, Request, Response

from service.docs_page import content_security_policy, docs_page
from service.problem_pages import problem_page, problems_page, refusals_by_code
from service.refusals import NotFound

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> Response:
    """Return the API reference as HTML."""
    return _html(docs_page(request.app.openapi()))


@router.get("/problems")
def problems() -> Response:
    """Return the list of problems as HTML."""
    return _html(problems_page())


@router.get("/problems/{code}")
def problem(code: str) -> Response:
    """Return the page of one code, which is the `type` of a problem."""
    kind = refusals_by_code().get(code)
    if kind is None:
        raise NotFound(f"there is no problem {code[:100]!r}", hint="GET /problems lists them")
    return _html(problem_page(kind))


def _html(page: str) -> Response:
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": content_security_policy()})
