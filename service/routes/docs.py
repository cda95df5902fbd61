"""`GET /docs`: the reference, without a script and without the network."""

from fastapi import APIRouter, Request, Response

from service.docs_page import docs_page, policy

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> Response:
    """The page."""
    return Response(
        docs_page(request.app.openapi()), media_type="text/html", headers={"Content-Security-Policy": policy()}
    )
