"""The loop of the process `undegrade webhooks`: leases deliveries that are due, and sends many at a time.

A receiver that hangs holds at most PER_HOST places for WEBHOOK_LIMITS.total_s, and an API key at most PER_OWNER of all
PLACES; deliveries to others pass by.  Jobs never wait for this process: the script that ends a job only writes the
outbox.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from jobs.backoff import Backoff
from jobs.deliveries import DueDelivery, Outbox, Settlement
from jobs.end_tasks import end_tasks
from jobs.errors import StoreError
from jobs.redis_keys import LEASE_MS
from jobs.webhook_secrets import forget_revoked

log = structlog.get_logger()
PLACES = 64
"""Deliveries that this process sends at a time."""
PER_HOST = 4
"""Of one API key and one server."""
PER_OWNER = 32
RESULTS_AT_ONCE = 8
"""Results in memory at a time: each is as large as an image."""
IDLE_S = 0.5
RENEW_S = LEASE_MS / 3000
ADOPT_S = 10.0
FORGET_S = 3600.0
STOP_S = 20.0
"""How long a process that is told to stop waits for answers; another one repeats what is left."""


class Sender:
    """`try_once` sends a delivery and returns what to note (`Sending.try_once`).

    `keys` is the Redis of API keys, where it is another one; `on_settled` is called after each try.
    """

    def __init__(
        self, outbox: Outbox, try_once: Callable[[DueDelivery], Awaitable[Settlement]], keys: Any = None,  # noqa: ANN401
        on_settled: Callable[[DueDelivery, Settlement], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self.outbox, self._try_once, self._on_settled = outbox, try_once, on_settled
        self._keys = outbox.redis if keys is None else keys
        self.token = secrets.token_hex(8)
        self._held: dict[asyncio.Task[None], DueDelivery] = {}
        self._results = asyncio.Semaphore(RESULTS_AT_ONCE)
        self._stop = asyncio.Event()
        self._trouble, self._started = "it has not reached Redis yet", False

    def stop(self) -> None:
        """Lease nothing more; `run` returns when what is being sent has been answered."""
        self._stop.set()

    def trouble(self) -> list[str]:
        """Returns why nothing can be sent now; for a probe, from any thread."""
        return [self._trouble] if self._trouble else []

    def start_trouble(self) -> list[str]:
        """Returns why the process has not started yet."""
        return [] if self._started else [self._trouble]

    async def run(self) -> None:
        """Send until `stop`."""
        repeated = [
            asyncio.create_task(self._repeat(work, every_s))
            for work, every_s in ((self._renew, RENEW_S), (self._adopt, ADOPT_S), (self._forget, FORGET_S))
        ]
        failures = Backoff()
        try:
            while not self._stop.is_set():
                try:
                    await self._step()
                    failures.reset()
                    self._trouble, self._started = "", True
                except (RedisError, OSError) as error:
                    self._trouble = f"Redis does not answer: {type(error).__name__}"
                    log.warning("webhooks.failed", error=type(error).__name__, detail=str(error))
                    await asyncio.sleep(failures.next_s())
            await self._end()
        finally:
            await end_tasks(*repeated, *self._held)

    async def _step(self) -> None:
        """Lease what there is room for; wait a moment where nothing is due, or where all places are taken."""
        free = PLACES - len(self._held)
        claimed = await self._claim(free) if free > 0 else []
        for due in claimed:
            task = asyncio.create_task(self._send(due))
            self._held[task] = due
            task.add_done_callback(self._held.pop)
        if free <= 0:
            await asyncio.wait(self._held, timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED)
        elif not claimed:
            await self.outbox.wait(IDLE_S)

    async def _claim(self, count: int) -> list[DueDelivery]:
        groups = Counter(due.group for due in self._held.values())
        owners = Counter(due.owner_key for due in self._held.values())
        return await self.outbox.claim(
            self.token, count, per_group=PER_HOST, per_owner=PER_OWNER,
            slots={group: PER_HOST - held for group, held in groups.items()},
            slots_of_owner={owner: PER_OWNER - held for owner, held in owners.items()},
        )  # fmt: skip

    async def _send(self, due: DueDelivery) -> None:
        try:
            if due.kind == "result":
                async with self._results:
                    settlement = await self._try_once(due)
            else:
                settlement = await self._try_once(due)
            await self.outbox.settle(self.token, due, settlement)
            if self._on_settled is not None:
                await self._on_settled(due, settlement)
        except (RedisError, StoreError, OSError) as error:  # the lease ends, and somebody sends it again
            log.warning("delivery.postponed", job=due.job, number=due.number, error=type(error).__name__)
        else:
            _log(due, settlement)

    async def _renew(self) -> None:
        await self.outbox.renew(self.token, list(self._held.values()))

    async def _adopt(self) -> None:
        if adopted := await self.outbox.adopt():
            log.info("deliveries.adopted", jobs=adopted)

    async def _forget(self) -> None:
        await forget_revoked(self._keys)

    async def _repeat(self, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await work()
            except (RedisError, OSError) as error:
                log.warning("webhooks.failed", error=type(error).__name__, detail=str(error))

    async def _end(self) -> None:
        if self._held:
            await asyncio.wait(self._held, timeout=STOP_S)


def _log(due: DueDelivery, settlement: Settlement) -> None:
    attempt = settlement.attempt
    log.info(
        "delivery.tried", job=due.job, number=due.number, kind=due.kind, state=settlement.state, tries=due.tries + 1,
        status=attempt.status if attempt else None, code=attempt.code if attempt else None,
        seconds=attempt.seconds if attempt else None, key_id=due.owner,
        retry_s=None if settlement.retry_s is None else round(settlement.retry_s, 1),
    )  # fmt: skip
