"""Composes the process `undegrade webhooks`."""

import asyncio
import signal
from collections.abc import Callable

import structlog

from jobs.blob_store import open_store
from jobs.deliveries import Outbox
from jobs.end_tasks import end_tasks
from jobs.redis_client import open_redis
from jobs.shards.shards import Shards
from jobs.shards.store import ShardedStore
from jobs.shards.urls import is_sharded
from service.outgoing.client import OutgoingClient
from service.settings import ServiceSettings
from service.webhooks.acceptance import result_rules, webhook_rules
from service.webhooks.sender import Sender
from service.webhooks.senders import Senders, announce
from service.webhooks.sending import Clients, Sending

log = structlog.get_logger()


async def run_webhooks(settings: ServiceSettings, started: Callable[[Sender | Senders], None]) -> None:
    """Send webhooks and results until SIGTERM or SIGINT; `started` serves the probes."""
    clients = Clients(webhook=OutgoingClient(webhook_rules(settings)), result=OutgoingClient(result_rules(settings)))
    try:
        if is_sharded(settings.redis_url):
            shards = Shards(settings.redis_url, bundle=settings.bundle)
            sharded_store = ShardedStore(shards, settings.store_url)
            try:
                await _run(settings, Senders(shards, sharded_store, clients), started)
            finally:
                await sharded_store.close()
                await shards.close()
            return
        async with open_redis(settings.redis_url) as redis:
            store = open_store(settings.store_url, redis)
            outbox = Outbox(redis)
            alive = asyncio.create_task(announce(outbox))
            try:
                await _run(settings, Sender(outbox, Sending(redis, store, clients).try_once), started)
            finally:
                await end_tasks(alive)
                await store.close()
    finally:
        clients.close()


async def _run(
    settings: ServiceSettings, sender: Sender | Senders, started: Callable[[Sender | Senders], None]
) -> None:  # fmt: skip
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, sender.stop)
    log.info("webhooks.started", webhook_hosts=settings.webhook_hosts, result_hosts=settings.result_hosts)
    started(sender)
    await sender.run()
    log.info("webhooks.stopped")
