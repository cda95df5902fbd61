"""The client against the real service with the toy worker of tests/service, in blocking and in asynchronous form."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faulty_proxy import FaultyProxy, start_proxy
from service_fixtures import _valkey, eventually, mortal_valkey, picture, serve, service, toy, valkey, worker

from undegrade_client import AsyncClient, Client


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of whoever runs the tests count for nothing."""
    for name in ("UNDEGRADE_SERVER", "UNDEGRADE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


FIXTURES = (_valkey, eventually, mortal_valkey, picture, serve, service, toy, valkey, worker)


class Clock:
    """Sleeps take no time and move this clock; what else takes time moves it, too."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return time.monotonic() + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        time.sleep(0.001)

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


class Blocking:
    """An AsyncClient with the methods of Client, so that one test checks both."""

    def __init__(self, *words: Any, **named: Any) -> None:
        self.runner = asyncio.Runner()
        self.client = self.run(self._made(*words, **named))

    async def _made(self, *words: Any, **named: Any) -> AsyncClient:
        return AsyncClient(*words, **named)

    def run(self, awaitable: Any) -> Any:
        return self.runner.run(awaitable)

    def map(self, *words: Any, **named: Any) -> Iterator[Any]:
        results = self.client.map(*words, **named)
        try:
            while True:
                try:
                    yield self.run(anext(results))
                except StopAsyncIteration:
                    return
        finally:
            self.run(results.aclose())

    def submit(self, *words: Any, **named: Any) -> "BlockingJob":
        return BlockingJob(self, self.run(self.client.submit(*words, **named)))

    def job(self, job_id: str) -> "BlockingJob":
        return BlockingJob(self, self.run(self.client.job(job_id)))

    def close(self) -> None:
        self.run(self.client.close())
        self.runner.close()

    def __getattr__(self, name: str) -> Any:
        made = getattr(self.client, name)
        return (lambda *words, **named: self.run(made(*words, **named))) if callable(made) else made


class BlockingJob:
    """An AsyncJob with the methods of Job."""

    def __init__(self, client: Blocking, job: Any) -> None:
        self._client, self._job = client, job

    def events(self, **named: Any) -> Iterator[Any]:
        events = self._job.events(**named)
        while True:
            try:
                yield self._client.run(anext(events))
            except StopAsyncIteration:
                return

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._job, name)
        return (lambda *words, **named: self._client.run(made(*words, **named))) if callable(made) else made


@pytest.fixture
def connect_blocking() -> Iterator[Callable[..., Client]]:
    """Makes a Client; `clock=` gives it another clock."""
    yield from _connecting(Client)


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a client of either form, which looks like a Client; `clock=` gives it another clock."""
    yield from _connecting(Client if request.param == "sync" else Blocking)


def _connecting(kind: type) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def make(url: str, *words: Any, clock: Clock | None = None, **named: Any) -> Any:
        client = kind(url, *words, **named)
        made.append(client)
        if clock is not None:
            driver, flows = client._driver, client._flows
            driver.now = flows._now = clock.now
            driver.sleep = clock.sleep if kind is Client else clock.asleep
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def clock() -> Clock:
    """A clock for retries that take no time."""
    return Clock()


@pytest.fixture
def faulty(service: Any) -> Iterator[FaultyProxy]:
    """A proxy in front of the running service."""
    proxy, server = start_proxy(service.url)
    yield proxy
    proxy.released.set()
    server.shutdown()
    server.server_close()
