"""From our requests to httpx's, and from httpx's failures to ours; both drivers use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from undegrade_client.errors import ConfigurationError
from undegrade_client.exchange import Request, Response, TransportFailure
from undegrade_client.settings import Settings

WRITE_SILENCE_S = 60.0
Http = httpx.Client | httpx.AsyncClient


def http_request(http: Http, settings: Settings, request: Request) -> httpx.Request:
    """Return httpx's request.  Only the server of the settings gets the API key."""
    ours = request.url.startswith("/")
    headers = {**(settings.headers if ours else {}), **request.headers}
    limits = httpx.Timeout(
        request.timeout_s, connect=min(settings.connect_s, request.timeout_s), write=WRITE_SILENCE_S, pool=None
    )
    return http.build_request(
        request.method, settings.server + request.url if ours else request.url, headers=headers, content=request.body,
        params=dict(request.params) or None,  # an empty dictionary would remove the query of a presigned URL
        timeout=limits,
    )  # fmt: skip


def head_of(response: httpx.Response, body: bytes = b"") -> Response:
    """Return our response."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Response(status=response.status_code, headers=headers, body=body)


@contextmanager
def translated_failures() -> Iterator[None]:
    """Raise httpx's failures as ours, in words."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise TransportFailure("the connection could not be opened in time") from error
    except httpx.TimeoutException as error:
        raise TransportFailure("no answer in time") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise ConfigurationError(f"the URL cannot be used: {error}") from error
    except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as error:
        raise TransportFailure(str(error) or type(error).__name__) from error


class BodyReader:
    """Collects the chunks of an answer within its time limit."""

    def __init__(self, total_s: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._until_s = now, None if total_s is None else now() + total_s
        self._chunks: list[bytes] = []

    def take(self, chunk: bytes) -> None:
        """Keep a chunk.

        Raises:
            TransportFailure: the answer takes too long as a whole.
        """
        if self._until_s is not None and self._now() > self._until_s:
            raise TransportFailure("the answer is too slow")
        self._chunks.append(chunk)

    def response(self, response: httpx.Response) -> Response:
        """Return the whole response."""
        return head_of(response, b"".join(self._chunks))


class OpenResponse:
    """A response that is still being read."""

    def __init__(self, response: httpx.Response, chunks: Any) -> None:  # noqa: ANN401 - sync or async iterator
        self.response, self.chunks = response, chunks
