"""Refuses query parameters that a route does not know, so that a typing error does not go unnoticed."""

import difflib
from collections.abc import Iterable
from typing import get_args, get_origin

from fastapi import Request
from fastapi.routing import APIRoute

from service.refusals import InvalidRequest

MAX_QUOTED_CHARACTERS = 100
"""Of a field's name in a refusal."""


def unknown_field(name: str, known: Iterable[str]) -> str:
    """Return the problem of an unknown field, with the nearest name."""
    near = difflib.get_close_matches(name.lower(), list(known), n=1)
    return "unknown field" + (f"; did you mean {near[0]}?" if near else "")


def check_query(request: Request, has_upload: bool | None = None) -> None:
    """Check the query of a request without a body.  Uploads read the query themselves: its fields are options.

    `has_upload` None: what POST sends is an upload.

    Raises:
        InvalidRequest: a parameter is unknown or occurs twice; `errors` contains each.
    """
    route = request.scope.get("route")
    has_upload = request.method == "POST" if has_upload is None else has_upload
    if has_upload or not isinstance(route, APIRoute):
        return
    fields = {field.alias: field.field_info.annotation for field in route.dependant.query_params}
    known = set(fields)
    lists = {name for name, kind in fields.items() if any(get_origin(part) is list for part in get_args(kind))}
    names = [name for name, _ in request.query_params.multi_items()]
    problems = {
        name: unknown_field(name, known) if name not in known else "given twice"
        for name in names
        if name not in known or (names.count(name) > 1 and name not in lists)
    }
    if problems:
        errors = [{"field": name[:MAX_QUOTED_CHARACTERS], "problem": text} for name, text in problems.items()]
        raise InvalidRequest(f"{errors[0]['field']}: {errors[0]['problem']}", errors=errors)
