"""Authenticates requests by API key."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from redis.asyncio import Redis

from jobs import api_keys
from service.query import check_query
from service.refusals import Unauthorized
from service.request_facts import note
from service.settings import Auth

NO_KEYS_CACHE_S = 1.0
"""How long the answer "no keys exist" is cached."""
CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class Caller:
    """The sender of a request: the id of its API key, or None where authentication is off."""

    owner: str | None = None

    def may_see(self, owner: str | None) -> bool:
        return self.owner is None or self.owner == owner


class Authenticator:
    """Requires an API key according to the setting `auth`.

    "auto" requires a key as soon as any key exists.  From then on this process always requires one, so that revoking
    the last key does not open the service.  The answer "no keys exist" is cached for NO_KEYS_CACHE_S, so a first key
    takes effect within a second.
    """

    def __init__(self, redis: "Redis", auth: Auth) -> None:
        self.redis, self.auth = redis, auth
        self._key_required = auth == "on"
        self._cached_until_s = 0.0

    async def authenticate(self, secret: str | None) -> Caller:
        """Return the caller that this secret belongs to.

        Raises:
            Unauthorized: a key is required, and the secret is missing, unknown or revoked.
        """
        if await self.needs_no_key():
            return Caller()
        if not secret:
            raise Unauthorized("an API key is required", headers=CHALLENGE)
        key = await api_keys.verify(self.redis, secret)
        if key is None:
            raise Unauthorized("this API key is unknown or has been revoked", headers=CHALLENGE)
        return Caller(key.id)

    async def needs_no_key(self) -> bool:
        """Return whether callers without a key are accepted now."""
        return self.auth == "off" or not await self._requires_key()

    async def _requires_key(self) -> bool:
        if not self._key_required and time.monotonic() >= self._cached_until_s:
            self._key_required = await api_keys.any_keys(self.redis)
            self._cached_until_s = time.monotonic() + NO_KEYS_CACHE_S
        return self._key_required


async def _caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
    key: Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))],
) -> Caller:
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.authenticate(bearer.credentials if bearer else key)
    note(key_id=caller.owner)
    check_query(request)  # after the key: a stranger learns nothing about the parameters
    return caller


AuthenticatedCaller = Annotated[Caller, Security(_caller)]
"""The dependency of every route that requires a key."""
