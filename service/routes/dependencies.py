"""Dependencies and OpenAPI snippets that the routes share."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request

from service.desk import Desk
from service.image_fetch import ImageFetch
from service.problems import PROBLEM_TYPE, Problem
from service.transcode import Transcoder

OpenAPIResponses = dict[int | str, dict[str, Any]]
"""The type of FastAPI's parameter `responses`."""


async def _desk(request: Request) -> Desk:  # async, because FastAPI runs plain functions in a thread
    desk: Desk = request.app.state.desk
    return desk


async def _transcoder(request: Request) -> Transcoder:
    transcoder: Transcoder = request.app.state.transcoder
    return transcoder


async def _images(request: Request) -> ImageFetch:
    images: ImageFetch = request.app.state.images
    return images


CurrentImages = Annotated[ImageFetch, Depends(_images)]
CurrentDesk = Annotated[Desk, Depends(_desk)]
CurrentTranscoder = Annotated[Transcoder, Depends(_transcoder)]
JobId = Annotated[
    str,
    Path(
        max_length=64,
        description="The job's id: 32 hex digits.",
        json_schema_extra={"pattern": "^[0-9a-f]{32}$"},  # only documented: another id is 404, as is an unknown one
    ),
]


def path_prefix(request: Request) -> str:
    """Return the path under which a proxy exposes the service."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def problem_responses(*statuses: int) -> OpenAPIResponses:
    """Return the OpenAPI responses for a route's refusals."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "Refused", "content": content, "model": Problem} for status in statuses}
