"""Performs flows with httpx in the calling thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
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


class Driver:
    """Runs flows of one client; several threads may share it."""

    def __init__(
        self, http: httpx.Client, settings: Settings, sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.http, self.settings, self.sleep, self.now = http, settings, sleep, now

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end and return its value."""
        steps = self.iterate(flow)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                value: T = done.value
                return value

    def iterate(self, flow: Flow[T]) -> Generator[Any, None, T]:
        """Yield what a flow emits."""
        stream = _Stream(self)
        answer: object = None
        error: BaseException | None = None
        try:
            while True:
                try:
                    effect = flow.send(answer) if error is None else flow.throw(error)
                except StopIteration as done:
                    value: T = done.value
                    return value
                answer = error = None
                if isinstance(effect, Emit):
                    yield effect.value
                    continue
                try:
                    answer = self._perform(effect, stream)
                except BaseException as raised:  # Ctrl-C, too: the flow cancels its job
                    error = raised
        finally:
            stream.close()
            flow.close()

    def _perform(self, effect: Effect, stream: _Stream) -> object:
        if isinstance(effect, Send):
            return self._send(effect.request)
        if isinstance(effect, Sleep):
            self.sleep(effect.seconds)
            return None
        if isinstance(effect, OpenStream):
            return stream.open(effect.request)
        if isinstance(effect, ReadChunk):
            return stream.read()
        assert isinstance(effect, CloseStream)
        stream.close()
        return None

    def _send(self, request: Request) -> Response:
        with translated_failures():
            reader = BodyReader(request.total_s, self.now)
            response = self.http.send(http_request(self.http, self.settings, request), stream=True)
            try:
                for chunk in response.iter_bytes():
                    reader.take(chunk)
            finally:
                response.close()
            return reader.response(response)


class _Stream:
    """The open response of one flow."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._open: OpenResponse | None = None

    def open(self, request: Request) -> Response:
        driver = self._driver
        with translated_failures():
            response = driver.http.send(http_request(driver.http, driver.settings, request), stream=True)
            self._open = OpenResponse(response, response.iter_bytes())
            return head_of(response, response.read() if response.status_code >= 400 else b"")

    def read(self) -> bytes | None:
        assert self._open, "read before open"
        with translated_failures():
            chunk: bytes | None = next(self._open.chunks, None)
            return chunk

    def close(self) -> None:
        if self._open is not None:
            self._open.response.close()
        self._open = None
