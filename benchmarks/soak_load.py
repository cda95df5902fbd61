"""A steady mixed load for a soak run: random arrivals of all kinds of requests, and an account of each job."""

import asyncio
import io
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
from PIL import Image

KINDS = {"picture": 6, "webhook": 4, "events": 2, "detect": 2, "delete": 1, "bad": 2, "list": 2, "batch": 1}
"""Kinds of requests and how often each comes."""
FOLLOW_S = 120.0
"""A job that has not ended by then counts as stuck."""


@dataclass
class Account:
    """What was asked for and what came of it.

    Attributes:
        latencies_s: of requests that wait for their picture, since the last `take`.
        requests: by kind.
        failures: sentences, each a job or a request that did not end as it should.
        hooks: ids of jobs whose webhook has not come yet, with the time since when it is due.
    """

    latencies_s: list[float] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    failures: list[str] = field(default_factory=list)
    hooks: dict[str, float] = field(default_factory=dict)
    early: set[str] = field(default_factory=set)

    def take(self) -> list[float]:
        """Returns the latencies since the last call."""
        taken, self.latencies_s = self.latencies_s, []
        return taken

    def heard(self, body: bytes) -> None:
        """A webhook has come, perhaps before the answer to its request."""
        job = str(json.loads(body)["data"]["id"])
        if self.hooks.pop(job, None) is None:
            self.early.add(job)

    def expect(self, job: str, now_s: float) -> None:
        """A webhook must come for this job."""
        if job in self.early:
            self.early.discard(job)
        else:
            self.hooks[job] = now_s


class Load:
    """Sends `rate` requests a second, on average, to `url` until `end`; `hook` is the URL of a webhook receiver."""

    def __init__(self, url: str, hook: str, rate: float, seed: int, account: Account) -> None:
        self.url, self.hook, self.rate, self.account = url, hook, rate, account
        self._draw = random.Random(seed)
        self._photos = [photo(side, "JPEG" if side % 64 else "PNG", seed + side) for side in (32, 48, 64, 96)]

    async def run(self, end_s: float) -> None:
        """Work until this time of `time.monotonic`, then wait for the requests that are under way."""
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=self.url, timeout=FOLLOW_S, limits=limits) as client:
            under_way: set[asyncio.Task[None]] = set()
            while time.monotonic() < end_s:
                await asyncio.sleep(min(10.0, self._draw.expovariate(self.rate)))
                kind = self._draw.choices(list(KINDS), list(KINDS.values()))[0]
                task = asyncio.create_task(self._one(client, kind))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.gather(*under_way)

    async def _one(self, client: httpx.AsyncClient, kind: str) -> None:
        actions: dict[str, Callable[[httpx.AsyncClient], Awaitable[None]]] = {
            "picture": self._picture, "webhook": self._webhook, "events": self._events, "detect": self._detect,
            "delete": self._delete, "bad": self._bad, "list": self._list, "batch": self._batch,
        }  # fmt: skip
        self.account.requests[kind] += 1
        try:
            await actions[kind](client)
        except (httpx.HTTPError, Unexpected, ValueError, KeyError) as error:
            self.account.failures.append(f"{kind}: {type(error).__name__}: {error}")

    async def _picture(self, client: httpx.AsyncClient) -> None:
        start_s = time.monotonic()
        answer = await self._send(client, "/restore", 200, accept="image/*")
        self.account.latencies_s.append(time.monotonic() - start_s)
        if not answer.headers["content-type"].startswith("image/"):
            raise Unexpected(f"got {answer.headers['content-type']}, expected an image")

    async def _webhook(self, client: httpx.AsyncClient) -> None:
        answer = await self._send(client, "/restore", 202, {"webhook_url": self.hook})
        self.account.expect(answer.json()["id"], time.monotonic())

    async def _events(self, client: httpx.AsyncClient) -> None:
        answer = await self._send(client, "/restore", 202)
        async with client.stream("GET", f"/jobs/{answer.json()['id']}/events") as stream:
            async for line in stream.aiter_lines():
                if line in ("event: completed", "event: failed", "event: canceled"):
                    if line != "event: completed":
                        raise Unexpected(line)
                    return
        raise Unexpected("the events ended before the job")

    async def _detect(self, client: httpx.AsyncClient) -> None:
        await self._send(client, "/detect", 200, prefer="wait=60")

    async def _delete(self, client: httpx.AsyncClient) -> None:
        answer = await self._send(client, "/restore", 202)
        deleted = await client.delete(f"/jobs/{answer.json()['id']}")
        if deleted.status_code >= 400:
            raise Unexpected(f"DELETE: {deleted.status_code} {deleted.text[:200]}")

    async def _bad(self, client: httpx.AsyncClient) -> None:
        data = self._draw.choice(self._photos)
        body = data[: len(data) // 8] if self._draw.random() < 0.5 else b"no photo"
        answer = await client.post("/restore", content=body, headers={"Content-Type": "image/png"})
        if not (400 <= answer.status_code < 500 or answer.status_code == 202):
            raise Unexpected(f"a damaged file: {answer.status_code}")

    async def _list(self, client: httpx.AsyncClient) -> None:
        for path in ("/jobs?limit=50", "/system", "/readyz"):
            answer = await client.get(path)
            if answer.status_code != 200:
                raise Unexpected(f"{path}: {answer.status_code}")

    async def _batch(self, client: httpx.AsyncClient) -> None:
        files = [("image", (f"{i}.png", self._draw.choice(self._photos), "image/png")) for i in range(3)]
        answer = await client.post("/batches", files=files)
        if answer.status_code != 202:
            raise Unexpected(f"/batches: {answer.status_code} {answer.text[:200]}")
        self.account.jobs += 3

    async def _send(
        self, client: httpx.AsyncClient, path: str, expected: int, options: dict[str, str] | None = None,
        accept: str = "application/json", prefer: str = "",
    ) -> httpx.Response:  # fmt: skip
        headers = {"Content-Type": "application/octet-stream", "Accept": accept}
        if prefer:
            headers["Prefer"] = prefer
        content = self._draw.choice(self._photos)
        answer = await client.post(path, params=options or {}, content=content, headers=headers)
        self.account.jobs += 1
        if answer.status_code != expected:
            raise Unexpected(f"{path}: {answer.status_code} {answer.text[:300]}")
        return answer


class Unexpected(Exception):
    """The service answered what it should not."""


def photo(side: int, kind: str, seed: int) -> bytes:
    """Returns a noisy gradient as a file."""
    rows = np.linspace(0, 200, side)[:, None, None] + np.random.default_rng(seed).normal(20, 12, (side, side, 3))
    data = io.BytesIO()
    Image.fromarray(rows.clip(0, 255).astype(np.uint8)).save(data, kind)
    return data.getvalue()
