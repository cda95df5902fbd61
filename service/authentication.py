"""Authenticates requests by API key."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from redis.asyncio import Redis

from jobs import api_keys
from service.query import check_query
from service.refusals import Forbidden, Unauthorized
from service.request_facts import note
from service.settings import Auth

NO_KEYS_CACHE_S = 1.0
"""How long the answer "no keys exist" is cached."""
CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class Caller:
    """The sender of a request: the id and the scope of its API key; both are None where no key was needed."""

    owner: str | None = None
    scope: str | None = None

    @property
    def sees_system(self) -> bool:
        """Whether it may see workers, lanes and Redis' settings: while no key is needed, everybody may."""
        return self.scope in ("admin", None)

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
            Forbidden: a later version gave the key a scope that this one does not know.
        """
        if await self.needs_no_key():
            return Caller()
        return await self._caller(secret, "an API key is required")

    async def authenticate_reader(self, secret: str | None) -> Caller:
        """Return a caller who may see workers and lanes: with an admin key, or anybody while no key is needed.

        Raises:
            Unauthorized, Forbidden: as `authenticate`, or the key is not an admin key.
        """
        caller = await self.authenticate(secret)
        if not caller.sees_system:
            raise Forbidden(f"this API key has the scope {caller.scope}, expected admin")
        return caller

    async def authenticate_admin(self, secret: str | None) -> Caller:
        """Return a caller with an admin key.  It is required whatever the setting `auth` says: an act stops the work.

        Raises:
            Unauthorized, Forbidden: the key is missing, unknown, or not an admin key.
        """
        caller = await self._caller(secret, "an admin key is required")
        if caller.scope != "admin":
            raise Forbidden(f"this API key has the scope {caller.scope}, expected admin")
        return caller

    async def _caller(self, secret: str | None, missing: str) -> Caller:
        if not secret:
            raise Unauthorized(missing, headers=CHALLENGE)
        key = await api_keys.verify(self.redis, secret)
        if key is None:
            raise Unauthorized("this API key is unknown or has been revoked", headers=CHALLENGE)
        if key.scope not in api_keys.SCOPES:
            raise Forbidden(f"this API key has the scope {key.scope!r}, which this version of undegrade does not know")
        return Caller(key.id, key.scope)

    async def needs_no_key(self) -> bool:
        """Return whether callers without a key are accepted now."""
        return self.auth == "off" or not await self._requires_key()

    async def _requires_key(self) -> bool:
        if not self._key_required and time.monotonic() >= self._cached_until_s:
            self._key_required = await api_keys.any_keys(self.redis)
            self._cached_until_s = time.monotonic() + NO_KEYS_CACHE_S
        return self._key_required


async def _secret(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
    key: Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))],
) -> str | None:
    return bearer.credentials if bearer else key


Secret = Annotated[str | None, Security(_secret)]


async def _caller(request: Request, secret: Secret) -> Caller:
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.authenticate(secret)
    note(key_id=caller.owner)
    check_query(request)  # after the key: a stranger learns nothing about the parameters
    return caller


async def _reader(request: Request, secret: Secret) -> Caller:
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.authenticate_reader(secret)
    check_query(request)
    return caller


async def _admin(request: Request, secret: Secret) -> Caller:
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.authenticate_admin(secret)
    check_query(request, has_upload=False)
    return caller


AuthenticatedCaller = Annotated[Caller, Security(_caller)]
"""The dependency of every route that requires a key."""
SystemReader = Annotated[Caller, Security(_reader)]
"""The dependency of routes that show workers and lanes."""
Admin = Annotated[Caller, Security(_admin)]
"""The dependency of routes that steer workers and lanes."""
