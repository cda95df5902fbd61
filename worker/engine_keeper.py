"""Keeps one engine child alive: starts it, watches it, and replaces it when it ends or hangs.

The pause before a replacement grows with each death and shrinks back when a job is done: a child that dies at its start
(too little memory, say) must not keep the machine busy for ever.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from jobs.backoff import Backoff
from processes.memory_limits import memory, oom_kills
from worker.engine_death import EngineDeath, explain_death
from worker.engine_link import EngineLink
from worker.messages import Answer, Done, Ping
from worker.watchdog import POLL_S, Watchdog

log = structlog.get_logger()
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0


class EngineKeeper:
    """The child behind `link`.

    Attributes:
        draining: ends the pauses.
        on_change: called when `trouble` has changed.
        trouble: why there is no engine that could work; "" while there is one, or while it loads for the first time.
    """

    def __init__(self, link: EngineLink, draining: asyncio.Event, on_change: Callable[[], None]) -> None:
        self.link, self.draining, self.on_change = link, draining, on_change
        self.trouble = ""
        self._watchdog, self._hang = Watchdog(), ""
        self._kills: int | None = None
        self._pauses = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    async def start(self) -> None:
        """Start the child.

        Raises:
            OSError: the operating system refuses.
        """
        self._watchdog, self._hang, self._kills = Watchdog(), "", oom_kills()
        await self.link.start()

    def heard(self, answer: Answer) -> None:
        """The child has sent an answer."""
        self._watchdog.heard(answer)
        if isinstance(answer, Done):
            self._pauses.reset()

    def recovered(self) -> None:
        """The child is ready."""
        self.trouble = ""

    async def run(self) -> None:
        """Watch the child until canceled."""
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(POLL_S)
            now_s = time.monotonic()
            passed_s, last_s = now_s - last_s, now_s
            vitals = self.link.vitals() if self.link.alive else None
            if vitals is None:
                continue
            hang = self._watchdog.tick(passed_s, vitals)
            if hang is None:
                if self.link.ready is not None:
                    self.link.send(Ping())
            elif not self._hang:
                self._hang = hang
                log.error("engine.hangs", why=hang)
                self.link.kill()

    async def death(self) -> EngineDeath:
        """Returns why the child has ended."""
        code = await asyncio.to_thread(self.link.exit_code)
        death = explain_death(code, self._hang or None, (self._kills, oom_kills()), memory())
        log.error("engine.died", exit_code=code, why=death.why)
        return death

    async def replace(self, death: EngineDeath) -> None:
        """Start another child after a pause, and try again while the operating system refuses; not during a drain."""
        loading = "" if self._watchdog.device else " while it loaded"
        why = death.why + loading
        while True:
            pause_s = self._pauses.next_s()
            self.trouble = f"the engine {why}; a new one starts in {pause_s:g} s"
            self.on_change()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.draining.wait(), pause_s)
            try:
                await self.start()
            except OSError as error:
                why = f"cannot be started: {error.strerror or error}"
                log.error("engine.not-started", error=str(error))
                if self.draining.is_set():
                    return
                continue
            self.trouble = f"the engine {why}; a new one loads its bundles"
            self.on_change()
            return
