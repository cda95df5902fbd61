"""The mixed load: clients that send, wait, read events, cancel and delete, and note all that they learn."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from chaos_run.pictures import COUNT, OPTIONS, input_path, pixels_hash
from chaos_run.records import FINAL_EVENTS, OVER, Journal

TRIES, PAUSE_S = 40, 0.5
TIMEOUT = httpx.Timeout(12.0, connect=3.0)
FOLLOWS = {"poll": 4.0, "events": 3.0, "none": 1.5, "cancel": 1.0, "delete": 1.0}
BATCH_SHARE, IDEMPOTENT_SHARE, WEBHOOK_SHARE, RESENT_SHARE = 0.06, 0.6, 0.4, 0.1
BATCH_IMAGES = (2, 5)
SLOW_SHARE, SLOW_PIECES, SLOW_PIECE_S = 0.5, 6, (0.0, 1.0)
"""Of batches: sent in pieces, with pauses, so that faults come in the middle of the request."""
LANES = ("interactive", "standard", "bulk")
END_WAIT_S = 150.0
Lost = (httpx.TransportError, httpx.StreamError, json.JSONDecodeError)


@dataclass(frozen=True)
class Latency:
    """From the first request of a job to the moment at which its client knew that it had succeeded; monotonic times."""

    begun_s: float
    ended_s: float

    @property
    def seconds(self) -> float:
        return self.ended_s - self.begun_s


@dataclass
class Load:
    """Clients of some API processes, with API keys.  `stop` ends the sending; clients that wait go on."""

    urls: list[str]
    keys: list[str]
    hook: str
    pictures: Path
    journal: Journal
    random: random.Random
    latencies: list[Latency] = field(default_factory=list)
    orders: int = 0
    refused: int = 0
    stopped: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _images: list[bytes] = field(default_factory=list)

    async def run(self, rate: Callable[[], float], most_at_once: int) -> None:
        """Send `rate()` requests a second on average, with at most `most_at_once` clients, until `stop`."""
        self._images = [input_path(self.pictures, number).read_bytes() for number in range(COUNT)]
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        async with httpx.AsyncClient(timeout=TIMEOUT, limits=limits) as client:
            while not self.stopped:
                await asyncio.sleep(min(5.0, self.random.expovariate(max(0.01, rate()))))
                if len(self._tasks) < most_at_once and not self.stopped:
                    self._begin(client)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Send nothing more."""
        self.stopped = True

    def give_up(self) -> None:
        """Let clients that still wait go."""
        for task in self._tasks:
            task.cancel()

    @property
    def waiting(self) -> int:
        return len(self._tasks)

    def _begin(self, client: httpx.AsyncClient) -> None:
        self.orders += 1
        customer = _Customer(self, client, f"o{self.orders}", random.Random(self.random.random()))
        task = asyncio.create_task(customer.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_raise_bugs)

    def image(self, number: int) -> bytes:
        return self._images[number]


def _raise_bugs(task: "asyncio.Task[None]") -> None:
    """A client that breaks is a bug of this program, and must not look like a quiet one."""
    if not task.cancelled() and (error := task.exception()) is not None:
        asyncio.get_running_loop().call_exception_handler({"message": "a client broke", "exception": error})


class _Customer:
    """One client with one request."""

    def __init__(self, load: Load, client: httpx.AsyncClient, op: str, source: random.Random) -> None:
        self.load, self.client, self.op, self.random = load, client, op, source
        self.headers = {"Authorization": f"Bearer {source.choice(load.keys)}"}
        self.note = load.journal.note

    def url(self, path: str) -> str:
        """Another API process each time, as a balancer would choose."""
        return self.random.choice(self.load.urls) + path

    async def run(self) -> None:
        begun_s = time.monotonic()
        batch = self.random.random() < BATCH_SHARE
        jobs = await (self._send_batch() if batch else self._send_single())
        if not jobs:
            return
        follow = "poll" if batch else self.random.choices(list(FOLLOWS), list(FOLLOWS.values()))[0]
        if follow in ("poll", "delete"):
            await self._poll(jobs[-1], None if batch else begun_s)
            if follow == "delete":
                await self._delete(jobs[-1])
        elif follow == "events":
            await self._read_events(jobs[0], begun_s)
        elif follow == "cancel":
            await asyncio.sleep(self.random.uniform(0, 1.5))
            await self._cancel(jobs[0])

    async def _send_single(self) -> list[str]:
        number = self.random.randrange(COUNT)
        fields: dict[str, Any] = {
            **OPTIONS,
            "seed": number,
            "lane": self.random.choice(LANES),
            "labels": f"op={self.op}",
        }
        return await self._send("/restore", [number], fields, "single")

    async def _send_batch(self) -> list[str]:
        # One input a batch: all of its jobs have one seed
        numbers = [self.random.randrange(COUNT)] * self.random.randint(*BATCH_IMAGES)
        return await self._send(
            "/batches", numbers, {**OPTIONS, "seed": numbers[0], "labels": f"op={self.op}"}, "batch"
        )

    async def _send(self, path: str, numbers: list[int], fields: dict[str, Any], how: str) -> list[str]:
        """Send a request until it is answered; without an Idempotency-Key, a lost answer ends that."""
        idempotent = self.random.random() < IDEMPOTENT_SHARE
        webhook = self.random.random() < WEBHOOK_SHARE
        slow = how == "batch" and self.random.random() < SLOW_SHARE
        headers = self.headers | ({"Idempotency-Key": f"{self.op}-{self.random.random()}"} if idempotent else {})
        if webhook:
            fields["webhook_url"] = f"{self.load.hook}/hook"
        self.note("order", op=self.op, inputs=numbers, idempotent=idempotent, webhook=webhook)
        files = [("image", (f"{place}.png", self.load.image(number))) for place, number in enumerate(numbers)]
        for _ in range(TRIES):
            self.note("sent", op=self.op)
            try:
                request = self.client.build_request("POST", self.url(path), headers=headers, data=fields, files=files)
                if slow:
                    request = await self._in_pieces(request)
                answer = await self.client.send(request)
                body = answer.json()
            except Lost:
                if not idempotent:
                    return []
                await asyncio.sleep(PAUSE_S)
                continue
            if answer.status_code in (200, 202):
                jobs = [item["job_id"] for item in body["items"]] if how == "batch" else [body["id"]]
                self.note("accepted", op=self.op, jobs=jobs)
                if idempotent and self.random.random() < RESENT_SHARE:
                    continue
                return [job for job in jobs if job is not None]
            self.load.refused += 1
            if answer.status_code < 500 and answer.status_code not in (408, 425, 429):
                if answer.status_code == 410:  # the job of an earlier attempt is deleted
                    return []
                raise RuntimeError(f"{path} was refused with {answer.status_code}: {answer.text[:300]}")
            if not idempotent and answer.status_code >= 500 and not _refused_whole(body):
                return []
            await asyncio.sleep(PAUSE_S)
        return []

    async def _in_pieces(self, whole: httpx.Request) -> httpx.Request:
        """Returns the same request, whose body comes slowly."""
        body = await whole.aread()

        async def pieces() -> AsyncIterator[bytes]:
            size = -(-len(body) // SLOW_PIECES)
            for start in range(0, len(body), size):
                yield body[start : start + size]
                await asyncio.sleep(self.random.uniform(*SLOW_PIECE_S))

        return self.client.build_request("POST", whole.url, headers=whole.headers, content=pieces())

    async def _poll(self, job: str, begun_s: float | None) -> None:
        until_s = time.monotonic() + END_WAIT_S
        while time.monotonic() < until_s:
            try:
                answer = await self.client.get(
                    self.url(f"/jobs/{job}"), params={"wait": 5}, headers=self.headers, timeout=TIMEOUT
                )
                body = answer.json()
            except Lost:
                await asyncio.sleep(PAUSE_S)
                continue
            if answer.status_code == 404:
                return
            if answer.status_code == 200 and body["status"] in OVER:
                if body["status"] == "succeeded":
                    await self._fetch(job)
                    self._took(begun_s)
                return
            if answer.status_code != 200:
                await asyncio.sleep(PAUSE_S)

    def _took(self, begun_s: float | None) -> None:
        if begun_s is not None:
            self.load.latencies.append(Latency(begun_s, time.monotonic()))

    async def _fetch(self, job: str) -> None:
        for _ in range(TRIES):
            try:
                answer = await self.client.get(self.url(f"/jobs/{job}/result"), headers=self.headers)
            except Lost:
                await asyncio.sleep(PAUSE_S)
                continue
            if answer.status_code == 200:
                self.note("result", job=job, pixels=pixels_hash(answer.content))
                return
            await asyncio.sleep(PAUSE_S)

    async def _read_events(self, job: str, begun_s: float) -> None:
        """Read the events of a job, break off at random, and come back with Last-Event-ID."""
        last, until_s, ended = "", time.monotonic() + END_WAIT_S, False
        reader = f"{self.op}-events"
        while not ended and time.monotonic() < until_s:
            headers = self.headers | ({"Last-Event-ID": last} if last else {})
            patience = self.random.choice((1, 2, 3, 100))
            with contextlib.suppress(*Lost):
                async with self.client.stream("GET", self.url(f"/jobs/{job}/events"), headers=headers) as answer:
                    if answer.status_code in (404, 410):
                        return
                    if answer.status_code == 200:
                        async for number, kind in _events(answer):
                            last, ended = number, kind in FINAL_EVENTS
                            self.note("seen", reader=reader, job=job, events=[[number, kind]], ended=ended)
                            patience -= 1
                            if ended or patience <= 0:
                                break
                            if kind == "completed":
                                self._took(begun_s)
            if not ended:
                await asyncio.sleep(self.random.uniform(0, PAUSE_S))
        if ended and kind == "completed":
            self._took(begun_s)

    async def _cancel(self, job: str) -> None:
        self.note("canceled", job=job, sure="maybe")
        try:
            answer = await self.client.delete(self.url(f"/jobs/{job}"), headers=self.headers)
        except Lost:
            self.note("deleted", job=job, sure="maybe")
            return
        if answer.status_code in (200, 202):
            self.note("canceled", job=job, sure="yes")
        elif answer.status_code == 204:
            self.note("deleted", job=job, sure="yes")
        else:
            self.note("deleted", job=job, sure="maybe")

    async def _delete(self, job: str) -> None:
        self.note("deleted", job=job, sure="maybe")
        with contextlib.suppress(*Lost):
            answer = await self.client.delete(self.url(f"/jobs/{job}"), headers=self.headers)
            if answer.status_code == 204:
                self.note("deleted", job=job, sure="yes")
            elif answer.status_code in (200, 202):
                self.note("canceled", job=job, sure="maybe")


def _refused_whole(body: dict[str, Any]) -> bool:
    """Returns whether a 503 or 507 says that there is no job, so that a client without a key may send again."""
    return body.get("code") in ("queue-full", "storage-full")


async def _events(answer: httpx.Response) -> Any:  # noqa: ANN401 - an async iterator of (id, type)
    number = kind = ""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            number = value
        elif name == "event":
            kind = value
        elif not line and number:
            yield number, kind
            number = kind = ""
