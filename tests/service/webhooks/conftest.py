"""Receivers, and a sender that runs beside the service."""

import asyncio
import threading

import pytest
from redis.asyncio import Redis
from webhook_receiver import Receiver

from jobs.blob_store import open_store
from jobs.deliveries import Outbox
from service.outgoing.client import OutgoingClient
from service.webhooks.acceptance import result_rules, webhook_rules
from service.webhooks.sender import Sender
from service.webhooks.sending import Clients, Sending


@pytest.fixture
def receiver():
    """A receiver that accepts everything."""
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def other_receiver():
    """Another one, at another port."""
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def hooked(serve, receiver, other_receiver):
    """A service that allows both receivers as webhook and as result URL."""
    origins = (receiver.origin, other_receiver.origin)
    return serve(webhook_hosts=origins, result_hosts=origins)


@pytest.fixture
def sender():
    """Starts senders for a service; they stop with the test."""
    stops = []

    def start(service):
        async def main():
            async with Redis.from_url(service.settings.redis_url) as redis:
                store = open_store(service.settings.store_url, redis)
                clients = Clients(
                    webhook=OutgoingClient(webhook_rules(service.settings)),
                    result=OutgoingClient(result_rules(service.settings)),
                )
                sending = Sender(Outbox(redis), Sending(redis, store, clients).try_once)
                stops.append((asyncio.get_running_loop(), sending, thread))
                started.set()
                await sending.run()

        started = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        assert started.wait(20)

    yield start
    for loop, sending, thread in stops:
        loop.call_soon_threadsafe(sending.stop)
        thread.join(30)
        assert not thread.is_alive()
