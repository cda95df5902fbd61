"""Composes the process `undegrade webhooks`."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from jobs.blob_store import open_store
from jobs.deliveries import Outbox
from jobs.end_tasks import end_tasks
from jobs.redis_client import open_redis
from service.outgoing.client import OutgoingClient
from service.settings import ServiceSettings
from service.webhooks.acceptance import result_rules, webhook_rules
from service.webhooks.sender import Sender
from service.webhooks.sending import Clients, Sending

log = structlog.get_logger()
TICK_S = 5.0


async def run_webhooks(settings: ServiceSettings, started: Callable[[Sender], None]) -> None:
    """Send webhooks and results until SIGTERM or SIGINT; `started` serves the probes."""
    async with open_redis(settings.redis_url) as redis:
        store = open_store(settings.store_url, redis)
        clients = Clients(
            webhook=OutgoingClient(webhook_rules(settings)), result=OutgoingClient(result_rules(settings))
        )  # fmt: skip
        outbox = Outbox(redis)
        sender = Sender(outbox, Sending(redis, store, clients).try_once)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, sender.stop)
        log.info("webhooks.started", webhook_hosts=settings.webhook_hosts, result_hosts=settings.result_hosts)
        started(sender)
        alive = asyncio.create_task(_announce(outbox))
        try:
            await sender.run()
        finally:
            await end_tasks(alive)
            clients.close()
            await store.close()
        log.info("webhooks.stopped")


async def _announce(outbox: Outbox) -> None:
    while True:
        with suppress(RedisError, OSError):
            await outbox.announce_process(socket.gethostname())
        await asyncio.sleep(TICK_S)
