"""What routes are handed."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request

from service.desk import Desk
from service.problems import PROBLEM_TYPE, Problem

Documented = dict[int | str, dict[str, Any]]
"""What FastAPI takes as `responses`."""


async def _desk(request: Request) -> Desk:  # async only because FastAPI runs plain functions in a thread
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]
JobId = Annotated[str, Path(max_length=64, description="The job's id: 32 hex digits.")]


def prefix(request: Request) -> str:
    """The path under which a proxy shows the service."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def problems(*statuses: int) -> Documented:
    """The refusals of a route, for OpenAPI."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "Refused", "content": content, "model": Problem} for status in statuses}
