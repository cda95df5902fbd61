"""Refuses a request whose `Accept` excludes every type that its route returns, before the route does anything.

Routes that return images choose the format themselves (service.negotiation).  Problems are always sent as problems,
whatever a client accepts: RFC 9110 (15.5.7) allows it, and a client without the reason could do nothing.
"""

from collections.abc import Iterator

from fastapi import Request
from fastapi.routing import APIRoute

from service.negotiation import JSON_TYPE, accepted
from service.refusals import NotAcceptable


def check_accept(request: Request) -> None:
    """Check the header `Accept` of a request.

    Raises:
        NotAcceptable: it contains none of the types of its route.
    """
    accept = ",".join(request.headers.getlist("accept"))
    if accept in ("", "*/*"):  # most requests
        return
    route = request.scope.get("route")
    types = returned_types(route) if isinstance(route, APIRoute) else ()
    if types and not any(accepted(accept).weight(media_type) for media_type in types):
        listed = " or ".join(types)
        raise NotAcceptable(f"got Accept: {accept[:200]}, and this route returns {listed}", hint=f"accept {listed}")


def returned_types(route: APIRoute) -> tuple[str, ...]:
    """Return the media types of a route's successful answers; () where it has none or negotiates an image itself."""
    types = tuple(sorted(set(_documented(route))))
    return () if any(media_type.startswith("image/") for media_type in types) else types


def _documented(route: APIRoute) -> Iterator[str]:
    if route.response_model is not None:
        yield JSON_TYPE
    for status, response in route.responses.items():
        if str(status).startswith("2"):
            yield from response.get("content", {})
            if "model" in response:
                yield JSON_TYPE
