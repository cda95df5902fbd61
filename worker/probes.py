"""`/livez`, `/readyz` and `/startupz` beside the metrics of a worker: probes for the platform.

The probes answer in the metrics server's thread, so they answer even where the event loop hangs; `Heartbeat` tells them
whether it does.  They never ask the device: a slow step and a long loading time must not look like death.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pydantic import BaseModel

TICK_S = 0.5
SILENT_S = 30.0
"""An event loop that has not run for so long hangs."""
HEALTHY = {"/livez": "alive", "/readyz": "ready", "/startupz": "started"}
Checks = Mapping[str, Callable[[], list[str]]]
"""For each path of HEALTHY, a function that returns in sentences what is missing."""


class Health(BaseModel):
    """The body of an answer, as the API's probes have it."""

    status: str
    reasons: list[str]


class Heartbeat:
    """Remembers when an event loop last ran; `reasons` may be asked from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._ticked_s = clock()
        self._loops: Sequence[asyncio.Task[None]] = ()

    def watch(self, loops: Sequence[asyncio.Task[None]]) -> None:
        """Report the end of each of these tasks, which should run for ever."""
        self._loops = loops

    def tick(self) -> None:
        """The event loop runs now."""
        self._ticked_s = self.clock()

    async def run(self) -> None:
        """Tick until canceled, where no other loop does."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def reasons(self) -> list[str]:
        """Returns why the process is not alive; an empty list while it is."""
        silent_s = self.clock() - self._ticked_s
        reasons = [f"the event loop has not run for {silent_s:.0f} s"] if silent_s > SILENT_S else []
        ended = sum(task.done() for task in self._loops)
        return reasons + ([f"{ended} of {len(self._loops)} loops have ended"] if ended else [])


def with_probes(metrics: WSGIApplication, checks: Checks) -> WSGIApplication:
    """Returns an application that answers the probes, and leaves every other path to `metrics`."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path not in checks:
            return metrics(environ, start_response)
        reasons, healthy = checks[path](), HEALTHY[path]
        health = Health(status=f"not {healthy}" if reasons else healthy, reasons=reasons)
        status = "503 Service Unavailable" if reasons else "200 OK"
        start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [health.model_dump_json().encode()]

    return answer
