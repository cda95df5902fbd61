"""Keeps one engine child alive: starts it, watches it, and replaces it when it ends or hangs.

The pause before a replacement grows with each death, up to a minute: a child that dies at its start (too little memory,
say) must not keep the machine busy for ever.  It is short again after a child that did a job or was ready for a while.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from jobs.backoff import Backoff
from jobs.record import Failure
from processes.memory_limits import memory, oom_kills
from worker.engine_death import EngineDeath, cannot_load, explain_death
from worker.engine_link import EngineLink
from worker.messages import Answer, Done, NotReady, Ping, Ready
from worker.watchdog import POLL_S, Watchdog

log = structlog.get_logger()
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
STEADY_S = 60.0
"""A child that was ready for this long is no child that dies at its start."""
MAX_LOADS = 3
"""Deaths in a row, for lack of memory while the child loads, after which jobs need not wait for the next try."""


class EngineKeeper:
    """The child behind `link`.

    Attributes:
        draining: ends the pauses.
        on_change: called when `trouble` has changed.
        trouble: why there is no engine that could work; "" while there is one, or while it loads for the first time.
        failure: why no child can ever work here; set by a child that has said so.
        cannot_load: how jobs end while the memory does not suffice for any child; tries to start one go on.
    """

    def __init__(
        self, link: EngineLink, draining: asyncio.Event, on_change: Callable[[], None], *,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self.link, self.draining, self.on_change, self.clock, self.sleep = link, draining, on_change, clock, sleep
        self.trouble = ""
        self.failure: NotReady | None = None
        self.cannot_load: Failure | None = None
        self._deaths_at_load = 0
        self._ready_s: float | None = None
        self._watchdog, self._hang = Watchdog(), ""
        self._kills: int | None = None
        self._pauses = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    async def start(self) -> None:
        """Start the child.

        Raises:
            OSError: the operating system refuses.
        """
        self._watchdog, self._hang, self._kills, self._ready_s = Watchdog(), "", oom_kills(), None
        await self.link.start()

    def heard(self, answer: Answer) -> None:
        """The child has sent an answer."""
        self._watchdog.heard(answer)
        if isinstance(answer, Done):
            self._pauses.reset()
        elif isinstance(answer, NotReady):
            self.failure = answer
        elif isinstance(answer, Ready):
            self.trouble, self.failure, self.cannot_load = "", None, None
            self._deaths_at_load, self._ready_s = 0, self.clock()

    async def run(self) -> None:
        """Watch the child until canceled."""
        last_s = self.clock()
        while True:
            await self.sleep(POLL_S)
            now_s = self.clock()
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
        if self._ready_s is not None and self.clock() - self._ready_s >= STEADY_S:
            self._pauses.reset()
        self._deaths_at_load = self._deaths_at_load + 1 if self._ready_s is None and death.for_memory else 0
        if self._deaths_at_load >= MAX_LOADS:
            self.cannot_load = cannot_load(death, self._deaths_at_load)
        return death

    async def replace(self, death: EngineDeath) -> None:
        """Start another child after a pause, and try again while the operating system refuses; not during a drain."""
        await self._start_another(death.why + (" while it loaded" if self._ready_s is None else ""))

    async def renew(self, why: str) -> None:
        """Start another child at once, after one that was asked to end; `why` is a sentence."""
        await asyncio.to_thread(self.link.exit_code)
        log.info("engine.recycled", why=why)
        await self._start_another(f"was replaced: {why}", pause=False)

    async def _start_another(self, why: str, *, pause: bool = True) -> None:
        while True:
            if pause:
                pause_s = self._pauses.next_s()
                self.trouble = f"the engine {why}; a new one starts in {pause_s:g} s"
                self.on_change()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.draining.wait(), pause_s)
            pause = True
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
