"""Authenticates requests by API key, and checks the scopes and the quotas of the key.

Each route that needs a key has one of the dependencies at the end.  `declared_scope` tells which scope a route needs.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import structlog
from fastapi import Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs import api_keys
from jobs.api_keys import ApiKey
from jobs.quotas import NO_QUOTAS, QuotaError, Quotas, quotas_of
from service.acceptable import check_accept
from service.limits.headers import note_account
from service.limits.request_limits import Account, RequestLimits, check_rate
from service.query import check_query
from service.refusals import Forbidden, KeyExpired, Unauthorized
from service.request_facts import note
from service.settings import Auth

log = structlog.get_logger()
NO_KEYS_CACHE_S = 1.0
"""How long the answer "no keys exist" is cached."""
CHALLENGE = {"WWW-Authenticate": "Bearer"}


READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Caller:
    """The sender of a request: the id and the scopes of its API key; both are None where no key was needed.

    `account` has its quotas and their use; None without quotas.  `weight` and `expires_ms` are those of its key.
    """

    owner: str | None = None
    scopes: frozenset[str] | None = None
    quotas: Quotas = field(default=NO_QUOTAS, repr=False)
    account: Account | None = field(default=None, repr=False)
    weight: int | None = None
    expires_ms: int | None = None

    @property
    def sees_system(self) -> bool:
        """Whether it may see workers, lanes and Redis' settings: while no key is needed, everybody may."""
        return self.may("admin")

    def may(self, scope: str) -> bool:
        """Whether the key has this scope: while no key is needed, everybody has all."""
        return self.scopes is None or scope in self.scopes

    def may_see(self, owner: str | None) -> bool:
        return self.owner is None or self.owner == owner


class Authenticator:
    """Requires an API key according to the setting `auth`.

    "auto" requires a key as soon as any key exists.  From then on this process always requires one, so that revoking
    the last key does not open the service.  The answer "no keys exist" is cached for NO_KEYS_CACHE_S, so a first key
    takes effect within a second.

    `default_quotas`: texts of jobs.quotas, for keys without their own and for callers without a key.
    """

    def __init__(self, redis: "Redis", auth: Auth, default_quotas: Mapping[str, str] | None = None) -> None:
        self.redis, self.auth = redis, auth
        self.default_quotas = dict(default_quotas or {})
        self._key_required = auth == "on"
        self._cached_until_s = 0.0
        self._uses: dict[str, asyncio.Task[None]] = {}

    async def authenticate(self, secret: str | None, scope: str | None = None) -> Caller:
        """Return the caller that this secret belongs to.  A key that is given must have `scope`; None: any will do.

        Raises:
            Unauthorized: a key is required, and the secret is missing, unknown, revoked or expired.
            Forbidden: the key has not this scope, or a later version gave it what this one does not know.
        """
        if await self.needs_no_key():
            return Caller(quotas=quotas_of({}, self.default_quotas))
        return await self._caller(secret, scope, "an API key is required")

    async def authenticate_admin(self, secret: str | None) -> Caller:
        """Return a caller with an admin key.  It is required whatever the setting `auth` says: an act stops the work.

        Raises:
            Unauthorized, Forbidden: the key is missing, unknown, or not an admin key.
        """
        return await self._caller(secret, "admin", "an admin key is required")

    async def _caller(self, secret: str | None, scope: str | None, missing: str) -> Caller:
        if not secret:
            raise Unauthorized(missing, headers=CHALLENGE)
        key = await api_keys.verify(self.redis, secret)
        if key is None:
            raise Unauthorized("this API key is unknown or has been revoked", headers=CHALLENGE)
        if key.expired():
            raise KeyExpired("this API key has expired", headers=CHALLENGE)
        caller = Caller(key.id, key.rights, self._quotas(key), weight=key.weight, expires_ms=key.expires_ms)
        _check_scope(caller, key, scope)
        self._note_use(key)
        return caller

    def _quotas(self, key: ApiKey) -> Quotas:
        try:
            return quotas_of(key.quotas, self.default_quotas)
        except QuotaError as error:
            raise Forbidden(
                f"a quota of this API key is of a later version of undegrade: {error}",
                hint="operators: finish the upgrade of the API, or change the key with undegrade keys update",
            ) from error

    def _note_use(self, key: ApiKey) -> None:
        """Write the last use in a task of its own: the request does not wait for it."""
        if api_keys.is_use_noted(key) or key.id in self._uses:
            return
        task = self._uses[key.id] = asyncio.create_task(self._write_use(key.id))
        task.add_done_callback(lambda _: self._uses.pop(key.id, None))

    async def _write_use(self, key_id: str) -> None:
        try:
            await api_keys.note_use(self.redis, key_id)
        except RedisError as error:  # the next request tries again
            log.warning("redis.away", error=type(error).__name__)

    async def close(self) -> None:
        """Finish what was put off."""
        await asyncio.gather(*self._uses.values())

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


def _check_scope(caller: Caller, key: ApiKey, scope: str | None) -> None:
    """Raise Forbidden where a key has not this scope; None: where it has no scope that this version knows."""
    if not (caller.scopes or set()) & set(api_keys.SCOPES):
        raise Forbidden(
            f"this API key has the scope {', '.join(key.shown_scopes)!r}, which this version does not know",
            hint="operators: finish the upgrade of the API, or change the key with undegrade keys update",
        )
    if scope is not None and not caller.may(scope):
        raise Forbidden(
            f"this API key has the scope {', '.join(key.shown_scopes)}, expected {scope}",
            hint=f"use a key with the scope {scope}: undegrade keys create NAME --scope {scope}",
            scope=scope,
        )


@dataclass(frozen=True)
class _Needs:
    """A dependency that returns the caller of a request, if its key has a scope.

    Attributes:
        scope: "any" for every key; "method" for `read` where the request reads, else `restore`.
        always: a key is needed also while the service needs none.
        has_upload: what POST sends is an upload, whose query has fields.
    """

    scope: str
    always: bool = False
    has_upload: bool | None = None

    def scope_of(self, method: str) -> str | None:
        if self.scope == "method":
            return "read" if method in READING else "restore"
        return None if self.scope == "any" else self.scope

    async def __call__(self, request: Request, secret: Secret) -> Caller:
        authenticator: Authenticator = request.app.state.authenticator
        if self.always:
            caller = await authenticator.authenticate_admin(secret)
        else:
            caller = await authenticator.authenticate(secret, self.scope_of(request.method))
        note(key_id=caller.owner)
        caller = await _counted(request, caller)
        check_accept(request)
        check_query(request, self.has_upload)  # after the key: a stranger learns nothing about the parameters
        return caller


async def _counted(request: Request, caller: Caller) -> Caller:
    """Count a request against the quotas of its caller.

    Raises:
        RateLimited: the caller sends too many.
    """
    limits: RequestLimits = request.app.state.request_limits
    account = await limits.count(caller.owner, caller.quotas)
    if account is None:
        return caller
    note_account(request.scope, account)
    check_rate(account)
    return replace(caller, account=account)


def declared_scope(route: APIRoute, method: str) -> str | None:
    """Return the scope that a route needs: "any" for any key, None where it needs no key."""
    needs = [entry.call for entry in route.dependant.dependencies if isinstance(entry.call, _Needs)]
    return (needs[0].scope_of(method) or "any") if needs else None


AuthenticatedCaller = Annotated[Caller, Security(_Needs("method"))]
"""The dependency of routes of jobs: GET needs a key with the scope `read`, other methods `restore`."""
AnyCaller = Annotated[Caller, Security(_Needs("any"))]
"""The dependency of routes for every key."""
SystemReader = Annotated[Caller, Security(_Needs("admin"))]
"""The dependency of routes that show workers and lanes: an admin key, or anybody while no key is needed."""
Admin = Annotated[Caller, Security(_Needs("admin", always=True, has_upload=False))]
"""The dependency of routes that steer workers and lanes."""
