"""`GET /docs`: the API reference, without scripts or external resources."""

from fastapi import APIRouter, Request, Response

from service.docs_page import content_security_policy, docs_page

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> Response:
    """Return the API reference as HTML."""
    headers = {"Content-Security-Policy": content_security_policy()}
    return Response(docs_page(request.app.openapi()), media_type="text/html", headers=headers)
