"""The service behind a proxy: the path under which it is served, and headers of trusted proxies."""

import re
from ipaddress import ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import VALID_PREFIX

HEAD = "undegrade.head"


def is_head(scope: Scope) -> bool:
    """Return whether the client has sent HEAD, which the routes see as GET."""
    return bool(scope.get(HEAD))


class RootPath:
    """Middleware: sets the root path from the setting, or from `X-Forwarded-Prefix` of a trusted proxy.

    It works both for proxies that strip the prefix and for those that pass the path on unchanged.
    """

    def __init__(self, app: ASGIApp, root_path: str, trusted_proxies: tuple[str, ...]) -> None:
        self.app, self.root_path = app, root_path
        self._all_trusted = "*" in trusted_proxies
        self._trusted = [ip_network(proxy, strict=False) for proxy in trusted_proxies if proxy != "*"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (prefix := self._prefix(scope)):
            scope = dict(scope, root_path=prefix)
            if not f"{scope['path']}/".startswith(f"{prefix}/"):
                scope["path"] = prefix + scope["path"]
                scope["raw_path"] = prefix.encode() + scope.get("raw_path", b"")
        await self.app(scope, receive, send)

    def _prefix(self, scope: Scope) -> str:
        given = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
        if given and re.fullmatch(VALID_PREFIX, given) and self._is_trusted(scope):
            return given
        return self.root_path

    def _is_trusted(self, scope: Scope) -> bool:
        if self._all_trusted:
            return True
        try:
            client = ip_address((scope.get("client") or ("", 0))[0])
        except ValueError:
            return False
        return any(client in network for network in self._trusted)


class HeadAsGet:
    """Middleware: answers HEAD as GET, without the body, and ends the response at once where it is a stream."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})

        await self.app(dict(scope, method="GET", **{HEAD: True}), receive, send_head)
