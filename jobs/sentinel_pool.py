"""Connections to the primary that Sentinels name.  They say what is wrong where none is named."""

import asyncio
import copy
import re
from typing import Any, NoReturn

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.sentinel import MasterNotFoundError, SentinelConnectionPool
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisAway

SENTINEL_S = 1.0
"""How long one Sentinel may take to connect, and to answer; then the next one is asked."""
NEEDED_RIGHTS = "+sentinel|masters +auth +hello +ping"


class SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """The client's pool for Sentinels, whose commands wait for a free connection."""

    _asking: "asyncio.Task[Any] | None" = None

    async def get_master_address(self) -> Any:  # noqa: ANN401 - host and port
        """Returns host and port of the primary.

        After a failover, all connections ask at once.  They share one question: each of its own would open a connection
        to each Sentinel, which would stay open.

        Raises:
            redis.exceptions.AuthenticationError: every Sentinel refuses this user or password.
            redis.exceptions.ConnectionError: no Sentinel names a primary that is alive.
        """
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, asking: "asyncio.Task[Any]") -> None:
        self._asking = None
        if not asking.cancelled():
            asking.exception()  # whoever has asked may have gone

    async def _ask(self) -> Any:  # noqa: ANN401 - host and port
        asked = copy.copy(self.sentinel_manager)  # it reorders its list: two that ask at once would lose a Sentinel
        asked.sentinels = list(self.sentinel_manager.sentinels)
        try:
            address = await asked.discover_master(self.service_name)
        except MasterNotFoundError as error:
            await self._explain(str(error))
        except NoPermissionError as error:
            raise self._refused() from error
        except ResponseError as error:
            raise ResponseError(f"one of {self._places} is no Sentinel: {error}; give its port, often 26379") from None
        self.sentinel_manager.sentinels = asked.sentinels  # the one that knew the primary comes first
        if address != self.master_address:
            self.master_address = address
            await self._leave_idle()
        return address

    async def _leave_idle(self) -> None:
        """Forget the idle connections, which lead to the primary before.

        The client's own way closes them while they can be taken from the pool: whoever takes one meanwhile and connects
        it again then loses the new connection.
        """
        idle, self._available_connections = self._available_connections, []
        for connection in idle:
            await connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        """Close the connections, those to the Sentinels too."""
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)
        await super().aclose()
        await self.sentinel_manager.aclose()

    async def _explain(self, words: str) -> NoReturn:
        """Raise what the client's words mean, which repeat every word of each Sentinel's connection."""
        places, causes = self._places, re.findall(r"\)> - (?:\w+:)?(\w+)", words)
        if len(causes) == len(self.sentinel_manager.sentinels):
            if set(causes) == {"AuthenticationError"}:
                raise self._refused() from None
            raise RedisAway(f"none of the Sentinels {places} answers ({', '.join(sorted(set(causes)))})") from None
        services = await self._services()
        if services is not None and self.service_name not in services:
            raise RedisAway(
                f"the Sentinels {places} know no service {self.service_name!r}, but {', '.join(services) or 'none'}; "
                "correct the name in the Redis URL"
            ) from None
        raise RedisAway(
            f"the Sentinels {places} name no primary of {self.service_name!r} that is alive; a failover takes seconds"
        ) from None

    async def _services(self) -> list[str] | None:
        """Returns the names of the services that a Sentinel watches, None where none answers."""
        for sentinel in self.sentinel_manager.sentinels:
            try:
                return sorted(await sentinel.sentinel_masters())
            except (RedisError, OSError):
                continue
        return None

    def _refused(self) -> AuthenticationError:
        return AuthenticationError(
            f"the Sentinels {self._places} refuse this user or password: give sentinel_password, and sentinel_username "
            f"for a user with the rights {NEEDED_RIGHTS}, in the Redis URL"
        )

    @property
    def _places(self) -> str:
        words = [sentinel.connection_pool.connection_kwargs for sentinel in self.sentinel_manager.sentinels]
        return ", ".join(sorted(f"{each['host']}:{each['port']}" for each in words))
