"""The service behind a proxy: the path under which it is served, and headers of trusted proxies."""

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.forwarded import TrustedProxies
from service.settings import VALID_PREFIX

HEAD = "undegrade.head"


def is_head(scope: Scope) -> bool:
    """Return whether the client has sent HEAD, which the routes see as GET."""
    return bool(scope.get(HEAD))


def path_prefix(scope: Scope) -> str:
    """Return the path under which a proxy exposes the service, without a slash at its end."""
    return str(scope.get("root_path", "")).rstrip("/")


class RootPath:
    """Middleware: sets the root path from the setting, or from `X-Forwarded-Prefix` of a trusted proxy.

    It works both for proxies that strip the prefix and for those that pass the path on unchanged.
    """

    def __init__(self, app: ASGIApp, root_path: str, proxies: TrustedProxies) -> None:
        self.app, self.root_path, self.proxies = app, root_path, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (prefix := self._prefix(scope)):
            scope = dict(scope, root_path=prefix)
            if not f"{scope['path']}/".startswith(f"{prefix}/"):
                scope["path"] = prefix + scope["path"]
                scope["raw_path"] = prefix.encode() + scope.get("raw_path", b"")
        await self.app(scope, receive, send)

    def _prefix(self, scope: Scope) -> str:
        given = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
        if given and re.fullmatch(VALID_PREFIX, given) and self.proxies.sent(scope):
            return given
        return self.root_path


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
