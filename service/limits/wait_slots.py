"""The waits that callers hold open, counted in Redis for all API processes together.

A wait has a lease in Redis, which this process renews while the wait is open.  So the waits of a process that dies
count for WAIT_LEASE_MS at most.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog
from redis.exceptions import RedisError

from jobs.quota_counters import QuotaCounters
from jobs.redis_keys import WAIT_LEASE_MS
from service.limits.request_limits import Account, waits_refusal

log = structlog.get_logger()
RENEWAL_S = WAIT_LEASE_MS / 1000 / 3
Slot = tuple[str, str]
"""(subject, wait)."""


class WaitSlots:
    """The open waits of this process whose callers have a quota of waits."""

    def __init__(self, counters: QuotaCounters) -> None:
        self.counters = counters
        self._held: set[Slot] = set()
        self._releases: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def hold(self, account: Account | None) -> AsyncIterator[None]:
        """Hold a wait of this caller.

        Raises:
            TooManyWaits: its quota is used up.
        """
        slot = await self.take(account)
        try:
            yield
        finally:
            self.release(slot)

    async def take(self, account: Account | None) -> Slot | None:
        """Take a wait, which the caller must `release`; None where there is no quota.

        Raises:
            TooManyWaits: the quota is used up.
        """
        if account is None or account.quotas.waits is None:
            return None
        slot = (account.subject, uuid.uuid4().hex)
        self._held.add(slot)  # before the call: a cancellation during it must not leave a wait that nobody renews
        try:
            taken = await self.counters.hold_wait(*slot, account.quotas.waits)
        except BaseException:
            self.release(slot)
            raise
        if not taken:
            self._held.discard(slot)
            raise waits_refusal(account.quotas.waits)
        return slot

    def release(self, slot: Slot | None) -> None:
        """Give a wait back, after the answer: nobody waits for Redis."""
        if slot is None:
            return
        self._held.discard(slot)
        self._spawn(self._release(slot))

    async def _release(self, slot: Slot) -> None:
        try:
            await self.counters.release_wait(*slot)
        except RedisError as error:  # its lease ends
            log.warning("redis.away", error=type(error).__name__)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def renew(self) -> None:
        """Renew the leases of the open waits until canceled."""
        while True:
            await asyncio.sleep(RENEWAL_S)
            try:
                await self.counters.renew_waits(list(self._held))
            except RedisError as error:
                log.warning("redis.away", error=type(error).__name__)

    async def close(self) -> None:
        """Wait for what is being given back."""
        await asyncio.gather(*self._releases)
