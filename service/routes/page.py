"""`GET /` and `GET /web/{path}`: the page and its files.  It needs no API key: it contains nothing of anybody."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from service.conditional import has_current
from service.page import ENTRY, HEADERS, page_files
from service.refusals import NotFound
from service.routes.dependencies import path_prefix

router = APIRouter(include_in_schema=False)


@router.get("/")
def page(request: Request) -> Response:
    """Return the page."""
    return _file(request, ENTRY)


@router.get("/web/{path:path}")
def page_file(request: Request, path: Annotated[str, Path()]) -> Response:
    """Return one file of the page."""
    return _file(request, path)


def _file(request: Request, path: str) -> Response:
    file = page_files().get(path)
    if file is None:
        raise NotFound(f"GET {request.url.path}: the page has no such file")
    headers = {**HEADERS, "ETag": file.etag}
    if has_current(request.headers.getlist("if-none-match"), file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)


class RootPathWithoutSlash(BaseRoute):
    """Redirects `/ai` to `/ai/` where `/ai` is the root path: relative references need the slash."""

    path = "/"  # the template in logs and metrics

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        prefix = scope.get("root_path", "")
        matches = scope["type"] == "http" and scope["method"] == "GET" and prefix and scope["path"] == prefix
        return (Match.FULL, {"route": self}) if matches else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await RedirectResponse(f"{path_prefix(Request(scope))}/", 308)(scope, receive, send)
