"""Where the server is, which key to send, and how patient the client is."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from undegrade_client.errors import ConfigurationError

VERSION = "0.1.0"
DEFAULT_SERVER = "http://127.0.0.1:8000"
SERVER_VARIABLE, KEY_VARIABLE = "UNDEGRADE_SERVER", "UNDEGRADE_API_KEY"


@dataclass(frozen=True)
class Settings:
    """All settings of a client.

    Attributes:
        server: URL of the API, with its path prefix, without a slash at the end.
        api_key: sent as a bearer token to this server only.
        timeout_s: how long a call may take in all, with waits and retries; None for no limit.
        outage_s: how long one request is tried again while the server is away or refuses, also without timeout_s.
        connect_s: how long opening a connection may take.
        silence_s: how long the server may be silent while it stores or sends an image; beyond a wait that it was asked
            for, a quarter of this.
        wait_s: the longest wait of one request, at most the server's 60 s; proxies may want less.
        first_retry_s, max_retry_s: pauses between tries grow from the first to the second, and are drawn below it.
        max_retry_after_s: a longer Retry-After is an error at once.
        large_bytes: larger images go to the object store directly, where the server offers that.
    """

    server: str = DEFAULT_SERVER
    api_key: str | None = None
    timeout_s: float | None = 600.0
    outage_s: float = 600.0
    connect_s: float = 10.0
    silence_s: float = 60.0
    wait_s: float = 50.0
    first_retry_s: float = 0.5
    max_retry_s: float = 20.0
    max_retry_after_s: float = 300.0
    large_bytes: int = 5_000_000

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request to the server."""
        agent = f"undegrade-client/{VERSION} python/{platform.python_version()}"
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"User-Agent": agent, "Accept": "application/json", **key}


def read_settings(server: str | None, api_key: str | None, timeout_s: float | None, **others: float) -> Settings:
    """Return the settings from arguments, else from UNDEGRADE_SERVER and UNDEGRADE_API_KEY.

    Raises:
        ConfigurationError: the URL is none, or the key cannot stand in a header.
    """
    url = (server or os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER).strip().rstrip("/")
    key = (api_key if api_key is not None else os.environ.get(KEY_VARIABLE, "")).strip() or None
    if key and not (key.isascii() and key.isprintable()):
        raise ConfigurationError("the API key has characters that no key has. Check UNDEGRADE_API_KEY or api_key.")
    if timeout_s is not None and not timeout_s > 0:
        raise ConfigurationError(f"got timeout_s={timeout_s!r}, expected seconds, more than 0, or None for no limit.")
    settings = Settings(server=_checked_url(url), api_key=key, timeout_s=timeout_s)
    return replace(settings, **others)  # type: ignore[arg-type]  # names and types are those of the keyword arguments


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    try:
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        known = False
    if not known or parts.query or parts.fragment:
        raise ConfigurationError(
            f"got {_without_password(url)!r} as the server, expected a URL such as {DEFAULT_SERVER}. "
            f"Give Client(server=...) or set {SERVER_VARIABLE}."
        )
    return url


def _without_password(url: str) -> str:
    """Return a URL without user and password, which may be secret."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
