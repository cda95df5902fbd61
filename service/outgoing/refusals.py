"""The refusals of a caller's URL: it is not allowed, or the exchange with its server fails.

No message contains an address, what a server answered, or the URL: a path or query may be a credential.  A name that
does not exist and a name with a private address are refused alike, so nobody can list the names of our network.
"""

from http import HTTPStatus

from service.refusals import Refusal


class UrlNotAllowed(Refusal):
    """The URL has another form, or its host, port or address is not allowed."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "url-not-allowed"
    hint = "give an https URL whose host the operator of this service allows"


class UrlUnreachable(Refusal):
    """The server does not accept the connection, or breaks it off; also if its certificate is not valid."""

    status, code = HTTPStatus.FAILED_DEPENDENCY, "url-unreachable"
    hint = "check that the URL's server answers from the public internet with a valid certificate"


class UrlTooSlow(Refusal):
    """The exchange takes longer than allowed."""

    status, code = HTTPStatus.FAILED_DEPENDENCY, "url-too-slow"
    hint = "check how fast the URL's server answers"


class UrlRedirects(Refusal):
    """The server answers with a redirect, which is never followed."""

    status, code = HTTPStatus.FAILED_DEPENDENCY, "url-redirects"
    hint = "give the URL that the redirect leads to"


class UrlBadAnswer(Refusal):
    """The server answers with an error, or with a compressed body."""

    status, code = HTTPStatus.FAILED_DEPENDENCY, "url-bad-answer"
    hint = "check that the URL answers 200 to a request without cookies and credentials"


class UrlBodyTooLarge(Refusal):
    """The server sends more bytes than allowed."""

    status, code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "url-too-large"
    hint = "give the URL of a smaller file; GET /limits returns the limit"


URL_REFUSALS = (UrlNotAllowed, UrlUnreachable, UrlTooSlow, UrlRedirects, UrlBadAnswer, UrlBodyTooLarge)
"""For `except`: whatever may be wrong with a caller's URL."""
