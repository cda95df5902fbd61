"""A small HTTP client for URLs of callers: GET as a stream, POST and PUT.

Built on httpcore, which follows no redirects, knows no proxies, cookies or .netrc, and dials what its network backend
dials: here one of the checked addresses.  Host, SNI and the certificate's name are the URL's.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

import httpcore
import httpx

from service.outgoing.addresses import Address
from service.outgoing.host_rules import Destination, HostRules
from service.outgoing.refusals import (
    UrlBadAnswer,
    UrlBodyTooLarge,
    UrlNotAllowed,
    UrlRedirects,
    UrlTooSlow,
    UrlUnreachable,
)
from service.outgoing.resolver import Resolver, SystemResolver, allowed_addresses

CONNECT_S = 5.0
"""For one address; at most `MAX_DIALED` are tried."""
MAX_DIALED = 3
READ_AFTER_STATUS_BYTES = 64 * 1024
"""Of the answer to a POST or PUT, whose body nobody needs: some servers stop working when their client hangs up."""
_Headers = list[tuple[bytes, bytes]]
_Content = bytes | AsyncIterator[bytes] | None


@dataclass(frozen=True, kw_only=True)
class ExchangeLimits:
    """The limits of one exchange.

    Attributes:
        total_s: from resolving the host to the last byte, also for a server that sends a byte now and then.
        max_bytes: of the answer's body.
    """

    total_s: float = 15.0
    max_bytes: int = READ_AFTER_STATUS_BYTES


@dataclass(frozen=True)
class Answer:
    """Status and headers (lower case) of a server's answer."""

    status: int
    headers: Mapping[str, str]


class AnswerStream:
    """An answer whose body is read in chunks, up to the limit."""

    def __init__(self, answer: Answer, chunks: AsyncIterator[bytes], max_bytes: int) -> None:
        self.answer = answer
        self._chunks, self._max_bytes = chunks, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the body.

        Raises:
            UrlBodyTooLarge: it has more bytes than the limit.
        """
        length = self.answer.headers.get("content-length", "0")
        read = 0
        too_large = UrlBodyTooLarge(f"the URL's file has more than {self._max_bytes} bytes")
        if length.isascii() and length.isdigit() and int(length) > self._max_bytes:
            raise too_large
        async for chunk in self._chunks:
            read += len(chunk)
            if read > self._max_bytes:
                raise too_large
            yield chunk


class OutgoingClient:
    """Reaches URLs that the rules allow.  One connection per exchange: nothing is kept open to a stranger."""

    def __init__(
        self,
        rules: HostRules,
        *,
        resolve: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self.rules, self._network = rules, network or httpcore.AnyIOBackend()
        self._own = SystemResolver() if resolve is None else None
        self._resolve: Resolver = resolve or self._own  # type: ignore[assignment]
        self._tls = tls or httpx.create_ssl_context()  # the authorities of certifi, or of SSL_CERT_FILE

    def close(self) -> None:
        """End the threads of name lookups."""
        if self._own is not None:
            self._own.close()

    @asynccontextmanager
    async def get_stream(
        self, url: str, limits: ExchangeLimits, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[AnswerStream]:
        """Open a GET; the time limit covers the block.

        Raises:
            UrlNotAllowed: by its form, host, port or address.
            UrlUnreachable, UrlTooSlow, UrlRedirects, UrlBadAnswer, UrlBodyTooLarge: the exchange fails.
        """
        async with self._exchange("GET", url, limits, dict(headers or {}), None) as (answer, chunks):
            if answer.status != 200:
                raise UrlBadAnswer(f"the URL's server answers {answer.status}", upstream_status=answer.status)
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise UrlBadAnswer("the URL's server sends a compressed body, although the request refuses it")
            yield AnswerStream(answer, chunks, limits.max_bytes)

    async def post(self, url: str, content: bytes, headers: Mapping[str, str], limits: ExchangeLimits) -> Answer:
        """Send a POST and return the answer, also 4xx and 5xx.

        Raises:
            UrlNotAllowed, UrlUnreachable, UrlTooSlow, UrlRedirects: as of `get_stream`.
        """
        return await self._send("POST", url, limits, {**headers, "content-length": str(len(content))}, content)

    async def put(
        self,
        url: str,
        content: bytes | AsyncIterator[bytes],
        length_bytes: int,
        headers: Mapping[str, str],
        limits: ExchangeLimits,
    ) -> Answer:
        """Send a PUT and return the answer, also 4xx and 5xx.

        Raises:
            UrlNotAllowed, UrlUnreachable, UrlTooSlow, UrlRedirects: as of `get_stream`.
        """
        return await self._send("PUT", url, limits, {**headers, "content-length": str(length_bytes)}, content)

    async def _send(
        self, method: str, url: str, limits: ExchangeLimits, headers: dict[str, str], content: _Content
    ) -> Answer:
        async with self._exchange(method, url, limits, headers, content) as (answer, chunks):
            read = 0
            async for chunk in chunks:
                read += len(chunk)
                if read > limits.max_bytes:
                    break
            return answer

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, limits: ExchangeLimits, headers: dict[str, str], content: _Content
    ) -> AsyncIterator[tuple[Answer, AsyncIterator[bytes]]]:
        destination = self.rules.destination(url)
        try:
            async with asyncio.timeout(limits.total_s) as deadline:
                addresses = await allowed_addresses(destination, self._resolve)
                async with (
                    self._connection(destination, addresses) as connection,
                    connection.stream(
                        method,
                        httpcore.URL(
                            scheme=destination.scheme, host=_host_in_url(destination), port=destination.port,
                            target=destination.target,
                        ),
                        headers=_wire_headers(destination, headers), content=content,
                        extensions={"timeout": {"connect": CONNECT_S}, "sni_hostname": destination.host},
                    ) as response,
                ):  # fmt: skip
                    answer = Answer(response.status, _readable(response.headers))
                    if 300 <= answer.status < 400:
                        raise UrlRedirects("the URL's server answers with a redirect, which is not followed")
                    yield answer, response.aiter_stream()
        except TimeoutError:
            if not deadline.expired():  # of the caller's block
                raise
            raise UrlTooSlow(f"the exchange with the URL's server took longer than {limits.total_s:g} s") from None
        except httpcore.TimeoutException:
            raise UrlUnreachable("the URL's server did not accept a connection in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            raise UrlUnreachable(_reason(error)) from None

    def _connection(self, destination: Destination, addresses: Sequence[Address]) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(
            httpcore.Origin(destination.scheme.encode(), _host_in_url(destination).encode(), destination.port),
            ssl_context=self._tls, network_backend=_DialChecked(addresses[:MAX_DIALED], self._network),
        )  # fmt: skip


class _DialChecked(httpcore.AsyncNetworkBackend):
    """Connects to the first of the checked addresses that accepts, whatever host it is asked for."""

    def __init__(self, addresses: Sequence[Address], network: httpcore.AsyncNetworkBackend) -> None:
        self._addresses, self._network = addresses, network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception | None = None
        for address in self._addresses:
            try:
                return await self._network.connect_tcp(str(address), port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or UrlNotAllowed("no address to dial")


def _host_in_url(destination: Destination) -> str:
    return f"[{destination.host}]" if ":" in destination.host else destination.host


def _wire_headers(destination: Destination, headers: Mapping[str, str]) -> _Headers:
    """Return all headers of the request; nothing else is sent."""
    sent = {
        "host": destination.authority,
        "user-agent": f"undegrade/{version('undegrade')}",
        "accept-encoding": "identity",
        "connection": "close",
        **{name.lower(): value for name, value in headers.items()},
    }
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in sent.items()]


def _readable(headers: _Headers) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _reason(error: Exception) -> str:
    """Return a sentence without the address, which is in many messages of the operating system."""
    text = str(error)
    if "certificate verify failed" in text.lower():
        return "the certificate of the URL's server is not valid for its name"
    if isinstance(error, httpcore.ConnectError):
        return "the URL's server does not accept a connection, or its TLS handshake fails"
    return "the URL's server broke off the exchange"
