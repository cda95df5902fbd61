"""The refusals of a request before any route sees it: by its bytes, its headers, or the page that sends it."""

from http import HTTPStatus

from service.refusals import Refusal


class UnknownHost(Refusal):
    """The Host header names another server: a web page may have changed the address of its own name."""

    status, code = HTTPStatus.MISDIRECTED_REQUEST, "unknown-host"
    hint = "use http://127.0.0.1 or http://localhost, or add the name to UNDEGRADE_ALLOWED_HOSTS"


class CrossOrigin(Refusal):
    """A web page of another origin sent the request, and its origin is not allowed."""

    status, code = HTTPStatus.FORBIDDEN, "cross-origin"
    hint = "add the page's origin to UNDEGRADE_ALLOWED_ORIGINS"


class MalformedRequest(Refusal):
    """The bytes are not an HTTP/1.1 request."""

    code = "malformed-request"
    hint = "send an HTTP/1.1 request"


class UriTooLong(Refusal):
    """The URL is longer than the limit."""

    status, code = HTTPStatus.REQUEST_URI_TOO_LONG, "uri-too-long"
    hint = "send the fields in the body"


class HeadersTooLarge(Refusal):
    """The request has too many headers, or too many bytes of them."""

    status, code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large"
    hint = "send fewer or shorter headers"


class RequestTimedOut(Refusal):
    """The request arrived too slowly."""

    status, code = HTTPStatus.REQUEST_TIMEOUT, "request-timeout"
    hint = "send the request again over a faster connection"
