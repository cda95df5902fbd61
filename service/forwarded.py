"""What trusted proxies say about the client: `X-Forwarded-Host`, and `Forwarded` (RFC 7239) in the words of the former.

Headers of strangers change nothing.  `Forwarded` counts only where the proxy sends no `X-Forwarded-For`, `-Proto` or
`-Host`: a proxy that knows those may pass on the `Forwarded` of its client unread.
"""

import re
from ipaddress import ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.settings import UNIX_PEER

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'\s*({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")\s*')
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_FORWARDED_BY_X = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")


class TrustedProxies:
    """The addresses and networks whose headers count; "*" for all, "unix" for those that come by the Unix socket."""

    def __init__(self, proxies: tuple[str, ...]) -> None:
        self._all, self._unix = "*" in proxies, UNIX_PEER in proxies
        self._networks = [ip_network(proxy, strict=False) for proxy in proxies if proxy not in ("*", UNIX_PEER)]

        self.for_uvicorn = ["*"] if self._all else [*map(str, self._networks), *([UNIX_PEER] if self._unix else [])]

    def trusts(self, address: str) -> bool:
        """Return whether the headers of a peer with this address count."""
        if self._all:
            return True
        if address == UNIX_PEER:
            return self._unix
        try:
            client = ip_address(address)
        except ValueError:
            return False
        return any(client in network for network in self._networks)

    def sent(self, scope: Scope) -> bool:
        """Return whether the request comes from a trusted proxy."""
        return self.trusts((scope.get("client") or (UNIX_PEER, 0))[0])


class ForwardedHeaders:
    """Middleware: takes `Host` from trusted proxies, and translates their `Forwarded`."""

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self.app, self.proxies = app, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "client": scope.get("client") or (UNIX_PEER, 0)}
            if self.proxies.sent(scope):
                scope["headers"] = self._headers(scope)
        await self.app(scope, receive, send)

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        headers = Headers(scope=scope)
        found: list[tuple[bytes, bytes]] = list(scope["headers"])
        if not any(name in headers for name in _FORWARDED_BY_X):
            told = self._forwarded(", ".join(headers.getlist("forwarded")))
            found += [(f"x-forwarded-{name}".encode(), value.encode("latin-1")) for name, value in told.items()]
        hosts = [value for name, value in found if name == b"x-forwarded-host"]
        host = hosts[-1].decode("latin-1").rpartition(",")[2].strip() if hosts else ""
        if _HOST.fullmatch(host):
            found = [(name, value) for name, value in found if name != b"host"] + [(b"host", host.encode())]
        return found

    def _forwarded(self, text: str) -> dict[str, str]:
        """Return `for` (all hops), and `proto` and `host` as told by the last trusted proxy before the client."""
        elements = parse_forwarded(text)
        if not elements:
            return {}
        first = len(elements) - 1
        while first > 0 and self.proxies.trusts(_address(elements[first].get("for", ""))):
            first -= 1
        hops = [element["for"] for element in elements if "for" in element]
        told = {name: elements[first][name] for name in ("proto", "host") if name in elements[first]}
        return told | ({"for": ", ".join(hops)} if hops else {})


def parse_forwarded(text: str) -> list[dict[str, str]]:
    """Return the elements of a Forwarded header, leftmost first; nothing of a header that is not valid."""
    elements: list[dict[str, str]] = []
    position, pairs = 0, {}
    while match := _PAIR.match(text, position):
        name, value = match[1].lower(), match[2]
        if name in pairs:
            return []
        pairs[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        position = match.end()
        separator = text[position : position + 1]
        if separator != ";":
            elements.append(pairs)
            pairs = {}
        if separator == "":
            return elements
        if separator not in ";,":
            return []
        position += 1
    return []


def _address(node: str) -> str:
    """Return the address of a node of Forwarded, without port and brackets."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0]
