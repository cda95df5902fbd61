"""Performs flows with httpx on an asyncio event loop; driver.py does so in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

import httpx

from undegrade_client.exchange import (
    CloseStream,
    Effect,
    Emit,
    Flow,
    OpenStream,
    ReadChunk,
    Request,
    Response,
    Send,
    Sleep,
)
from undegrade_client.settings import Settings
from undegrade_client.transport import BodyReader, OpenResponse, head_of, http_request, translated_failures

T = TypeVar("T")


class AsyncDriver:
    """Runs flows of one client; several tasks may share it."""

    def __init__(
        self, http: httpx.AsyncClient, settings: Settings, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.http, self.settings, self.sleep, self.now = http, settings, sleep, now

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end and return its value."""
        values: list[T] = []
        async for _ in self.iterate(flow, values.append):
            pass
        return values[0]

    async def iterate(self, flow: Flow[T], ended: Callable[[T], object] = lambda value: None) -> AsyncGenerator[Any]:
        """Yield what a flow emits; `ended` gets its value, which an async generator cannot return."""
        stream = _Stream(self)
        answer: object = None
        error: BaseException | None = None
        try:
            while True:
                try:
                    effect = flow.send(answer) if error is None else flow.throw(error)
                except StopIteration as done:
                    ended(done.value)
                    return
                answer = error = None
                if isinstance(effect, Emit):
                    yield effect.value
                    continue
                try:
                    answer = await self._perform(effect, stream)
                except BaseException as raised:  # a canceled task, too: the flow cancels its job
                    error = raised
        finally:
            await stream.close()
            flow.close()

    async def _perform(self, effect: Effect, stream: _Stream) -> object:
        if isinstance(effect, Send):
            return await self._send(effect.request)
        if isinstance(effect, Sleep):
            await self.sleep(effect.seconds)
            return None
        if isinstance(effect, OpenStream):
            return await stream.open(effect.request)
        if isinstance(effect, ReadChunk):
            return await stream.read()
        assert isinstance(effect, CloseStream)
        await stream.close()
        return None

    async def _send(self, request: Request) -> Response:
        with translated_failures():
            reader = BodyReader(request.total_s, self.now)
            response = await self.http.send(http_request(self.http, self.settings, request), stream=True)
            try:
                async for chunk in response.aiter_bytes():
                    reader.take(chunk)
            finally:
                await response.aclose()
            return reader.response(response)


class _Stream:
    """The open response of one flow."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver
        self._open: OpenResponse | None = None

    async def open(self, request: Request) -> Response:
        driver = self._driver
        with translated_failures():
            response = await driver.http.send(http_request(driver.http, driver.settings, request), stream=True)
            self._open = OpenResponse(response, response.aiter_bytes())
            return head_of(response, await response.aread() if response.status_code >= 400 else b"")

    async def read(self) -> bytes | None:
        assert self._open, "read before open"
        with translated_failures():
            chunk: bytes | None = await anext(self._open.chunks, None)
            return chunk

    async def close(self) -> None:
        if self._open is not None:
            await self._open.response.aclose()
        self._open = None
