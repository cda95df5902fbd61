"""Who may come in: API keys, once there is one."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from redis.asyncio import Redis

from jobs import api_keys
from service.refusals import Unauthorized
from service.settings import Auth

UNASKED_S = 1.0
CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class Caller:
    """Who asks: the id of his key, None where no key is asked for."""

    owner: str | None = None

    def may_see(self, owner: str | None) -> bool:
        return self.owner is None or self.owner == owner


class Gate:
    """Asks for a key when told to, and with `auto` from the moment that one exists.

    Once it has begun to ask it never stops: to revoke the last key must not open the door.  That there is none is
    remembered for UNASKED_S, so the first key closes the door a second after it was made at the latest.
    """

    def __init__(self, redis: "Redis", auth: Auth) -> None:
        self.redis, self.auth = redis, auth
        self._asks = auth == "on"
        self._open_until_s = 0.0

    async def admit(self, presented: str | None) -> Caller:
        """Who holds this key.

        Raises:
            Unauthorized: a key is asked for, and this is none.
        """
        if self.auth == "off" or not await self._asking():
            return Caller()
        if not presented:
            raise Unauthorized("an API key is needed", headers=CHALLENGE)
        key = await api_keys.verify(self.redis, presented)
        if key is None:
            raise Unauthorized("this API key is not known, or has been revoked", headers=CHALLENGE)
        return Caller(key.id)

    async def _asking(self) -> bool:
        if not self._asks and time.monotonic() >= self._open_until_s:
            self._asks = await api_keys.any_keys(self.redis)
            self._open_until_s = time.monotonic() + UNASKED_S
        return self._asks


async def caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
    key: Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))],
) -> Caller:
    """The dependency of every route that is not for everybody."""
    gate: Gate = request.app.state.gate
    return await gate.admit(bearer.credentials if bearer else key)


Guarded = Annotated[Caller, Security(caller)]
