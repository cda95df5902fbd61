"""The senders of a webhook process, one for each of several Redis servers: each has the outbox of its own jobs."""

import asyncio
import socket
from contextlib import suppress

from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.deliveries import DueDelivery, Outbox, Settlement
from jobs.end_tasks import end_tasks, run_together
from jobs.shards.keys import KeyRecords
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards
from jobs.shards.store import ShardedStore
from jobs.webhook_secrets import disabled_field
from service.webhooks.sender import STOP_S, Sender
from service.webhooks.sending import Clients, Sending

TICK_S = 5.0


class Senders:
    """Looks like one Sender.  It is in trouble where no server can be used."""

    def __init__(self, shards: Shards, store: ShardedStore, clients: Clients) -> None:
        self.shards, self.store, self.clients, self.keys = shards, store, clients, KeyRecords(shards)
        self._senders: dict[Shard, Sender] = {}
        self._sending: set[Shard] = set()
        self._stop, self._changed = asyncio.Event(), asyncio.Event()

    def stop(self) -> None:
        """Lease nothing more; `run` returns when what is being sent has been answered."""
        self._stop.set()
        for sender in self._senders.values():
            sender.stop()

    def trouble(self) -> list[str]:
        """Returns why nothing can be sent now; for a probe, from any thread."""
        found = [(shard, sender.trouble()) for shard, sender in list(self._senders.items())]
        if not found:
            return ["it has not reached Redis yet"]
        reasons = [f"{shard}: {reason}" for shard, trouble in found for reason in trouble]
        return reasons if all(trouble for _, trouble in found) else []

    def start_trouble(self) -> list[str]:
        """Returns why the process has not started yet."""
        troubles = [sender.start_trouble() for sender in list(self._senders.values())]
        return [] if any(not trouble for trouble in troubles) else ["it has not reached Redis yet"]

    async def run(self) -> None:
        """Send until `stop`."""
        await self.shards.check()
        working = asyncio.create_task(run_together(self.shards.watch(), self.shards.for_each(self._serve)))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    while self._sending:
                        self._changed.clear()
                        await self._changed.wait()
        finally:
            await end_tasks(working, stopped)

    async def _serve(self, shard: Shard) -> None:
        outbox = Outbox(shard.redis)
        sending = Sending(shard.redis, self.store.part(shard), self.clients, self.keys)
        sender = self._senders[shard] = Sender(outbox, sending.try_once, self.keys, self._note)
        if self._stop.is_set():
            sender.stop()
        self._sending.add(shard)
        alive = asyncio.create_task(announce(outbox))
        try:
            await sender.run()
            self._ended(shard)
            await asyncio.Event().wait()
        finally:
            await end_tasks(alive)
            self._ended(shard)
            del self._senders[shard]

    def _ended(self, shard: Shard) -> None:
        self._sending.discard(shard)
        self._changed.set()

    async def _note(self, due: DueDelivery, settlement: Settlement) -> None:
        """Note at the home of the keys that a receiver wants no more webhooks, or again: other shards copy it."""
        field = disabled_field(due.owner_key, due.hooks.webhook_url or "")
        with suppress(RedisError, OSError):  # the next answer says it again
            if settlement.disable is not None:
                await self.keys.hset(redis_keys.DISABLED_WEBHOOKS, field, settlement.disable.model_dump_json())
            elif settlement.enable:
                await self.keys.hdel(redis_keys.DISABLED_WEBHOOKS, field)


async def announce(outbox: Outbox) -> None:
    """Say that a webhook process of this host runs, until canceled."""
    while True:
        with suppress(RedisError, OSError):
            await outbox.announce_process(socket.gethostname())
        await asyncio.sleep(TICK_S)
