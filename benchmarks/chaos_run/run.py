"""One run: start the parts, send the load, inject the faults, let everything settle, and check."""

import asyncio
import contextlib
import math
import random
import shutil
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redis.exceptions import RedisError

from chaos_run.clients import Load
from chaos_run.faults import Faults, Skipped
from chaos_run.invariants import Terms, Violation, violations
from chaos_run.observe import Observer
from chaos_run.parts import processes_of
from chaos_run.place import Place, Wish
from chaos_run.records import Journal, Observed, PartFacts
from chaos_run.schedule import Fault
from jobs import api_keys
from jobs.redis_client import open_redis

CALM_S, QUIET_S, MEASURE_S = 12.0, 20.0, 12.0
"""Before the first fault; from the last one until everything must be as before; and the time that is measured then."""
SETTLE_S = 300.0
NEWS_S = 10.0
MOST_AT_ONCE = 100
TENANTS = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do.

    Attributes:
        enough: of the faults; the rest is spare, for those that are skipped.
        rate: requests a second.
        jobs: accepted jobs after which no more are sent; None: no such end.
    """

    seed: int
    faults: Sequence[Fault]
    enough: int
    lasts_s: float
    rate: float
    wish: Wish
    jobs: int | None = None


@dataclass
class Report:
    """How a run went.

    `recoveries_s`: by kind of fault, from the end of each one until a job that came after it had succeeded.
    """

    accepted: int = 0
    states: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    usual_s: float | None = None
    recovered_s: float | None = None
    webhooks: int = 0
    readers: int = 0
    without: list[str] = field(default_factory=list)
    minutes: float = 0.0
    interrupted: bool = False

    @property
    def lost(self) -> int:
        return sum(violation.rule == "lost" for violation in self.violations)

    @property
    def twice(self) -> int:
        return sum(violation.rule == "published-twice" for violation in self.violations)


class Run:
    """A plan in a folder of its own.  `say` prints a line of progress."""

    def __init__(
        self, plan: Plan, folder: Path, pictures: Path, expected: dict[int, str], say: Callable[[str], None]
    ) -> None:
        self.plan, self.folder, self.expected, self.say = plan, folder, expected, say
        self.place = Place(folder, pictures, plan.wish)
        self.pictures, self.report = pictures, Report()
        self.ends: list[tuple[str, float]] = []
        self.seen = Observed()
        self._quiet_from_s: float | None = None
        self.journal = Journal(folder / "journal.jsonl")
        self._background: set[asyncio.Task[None]] = set()

    async def go(self) -> Report:
        """Run the plan.  What it has started has ended when this returns."""
        begun_s, task = time.monotonic(), asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            self.place.open()
            self.report.without = self.place.without
            await self._work()
        except asyncio.CancelledError:
            self.report.interrupted = True
        finally:
            for task in self._background:
                task.cancel()
            left = self.place.close()
            self.journal.close()
        self.report.minutes = (time.monotonic() - begun_s) / 60
        if left:
            self.say(f"killed at the end: {left}")
        return self.report

    async def _work(self) -> None:
        async with open_redis(self.place.redis_url, answer_s=10) as redis:
            keys = [(await api_keys.create(redis, f"tenant-{number}"))[1] for number in range(TENANTS)]
        self.say("starting 2 API processes, 3 workers, webhooks")
        await self.place.start_parts()
        source = random.Random(self.plan.seed + 1)
        load = Load(self.place.api_urls, keys, self.place.receiver.origin, self.pictures, self.journal, source)
        sending = self._spawn(load.run(lambda: self.plan.rate, MOST_AT_ONCE))
        self._spawn(self._watch(load))
        tenants = [{"Authorization": f"Bearer {key}"} for key in keys]
        try:
            await self._faults_under_load(load)
        except asyncio.CancelledError:  # Ctrl-C or SIGTERM: check what there is
            self.report.interrupted = True
            if task := asyncio.current_task():
                task.uncancel()
        load.stop()
        async with open_redis(self.place.redis_url, answer_s=10) as redis:
            observer = Observer(self.place.api_urls, tenants, redis, self.place.store_url)
            await self._settle(observer, load)
            load.give_up()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            await self._observe(observer, load)
        self._judge(load)

    def _spawn(self, work: object) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[arg-type]
        self._background.add(task)
        return task

    async def _faults_under_load(self, load: Load) -> None:
        await asyncio.sleep(CALM_S)
        while len(load.latencies) < 10:  # a busy machine
            await asyncio.sleep(1)
        self.report.usual_s = self.seen.usual_s = _p95([latency.seconds for latency in load.latencies])
        for part in self.place.parts.values():
            self.seen.calm[part.kind] = max(self.seen.calm.get(part.kind, 0), part.files())
        self.say(f"calm: p95 {self.seen.usual_s:.2f} s, {len(self.journal.model.jobs)} jobs; faults begin")
        faults, begun_s = Faults(self.place, self.plan.seed + 2), time.monotonic()
        injecting: list[asyncio.Task[None]] = []
        for fault in self.plan.faults:
            await asyncio.sleep(max(0.0, begun_s + fault.at_s - time.monotonic()))
            if len(injecting) - self.report.skipped.total() >= self.plan.enough:
                await asyncio.gather(*injecting)  # one of them may still be skipped
                if self.report.injected.total() >= self.plan.enough:
                    break
            injecting.append(asyncio.create_task(self._inject(faults, fault)))
        await asyncio.gather(*injecting)
        await asyncio.sleep(max(0.0, begun_s + self.plan.lasts_s - time.monotonic()))
        while self.plan.jobs is not None and len(self.journal.model.jobs) < self.plan.jobs:
            await asyncio.sleep(0.5)
        last_s = max((end_s for _, end_s in self.ends), default=time.monotonic())
        await asyncio.sleep(max(0.0, last_s + QUIET_S - time.monotonic()))
        self._quiet_from_s = time.monotonic()
        await asyncio.sleep(MEASURE_S)

    async def _inject(self, faults: Faults, fault: Fault) -> None:
        begun_s = time.monotonic()
        try:
            seen = await faults.inject(fault)
        except (Skipped, RedisError, OSError, AssertionError) as why:  # an assertion: no start in 30 s
            self.report.skipped[fault.kind] += 1
            self.journal.note("fault", fault=str(fault), skipped=str(why)[:200])
            self.say(f"skipped {fault}: {str(why)[:200]}")
            return
        self.report.injected[fault.kind] += 1
        self.ends.append((fault.kind, time.monotonic()))
        took_s = round(time.monotonic() - begun_s, 1)
        self.journal.note("fault", fault=str(fault), seen=seen, took_s=took_s, at=time.strftime("%H:%M:%S"))
        self.say(f"  {fault}: {seen}")

    async def _watch(self, load: Load) -> None:
        begun_s = said_s = time.monotonic()
        while True:
            await asyncio.sleep(0.5)
            self.place.keep_running()
            if time.monotonic() - said_s >= NEWS_S:
                said_s = time.monotonic()
                done, jobs = sum(self.report.injected.values()), len(self.journal.model.jobs)
                self.say(
                    f"{said_s - begun_s:5.0f} s  {jobs} jobs accepted, {done} of {self.plan.enough} faults, "
                    f"{load.waiting} clients wait"
                )

    async def _settle(self, observer: Observer, load: Load) -> None:
        """Wait until no job and no delivery is left that must still end."""
        self.say("no more requests; waiting for the end of all jobs and deliveries")
        try:
            await self.place.until_ready(SETTLE_S)
        except TimeoutError as error:  # the jobs that wait for it are told below
            self.say(str(error))
        until_s, rest = time.monotonic() + SETTLE_S, ["?"]
        while (rest or load.waiting) and time.monotonic() < until_s:
            await asyncio.sleep(1)
            await observer.hurry_deliveries()
            rest = await observer.unsettled()
        if rest:
            self.say(f"not settled after {SETTLE_S:g} s: {', '.join(rest)}")

    async def _observe(self, observer: Observer, load: Load) -> None:
        self.say("reading all jobs, results and events")
        model, seen = self.journal.model, self.seen
        seen.ended = await observer.ended()
        seen.jobs = await observer.jobs(list(model.jobs))
        for request in self.place.receiver.of("/hook"):
            message = request.headers.get("webhook-id", "")
            seen.webhooks.append((message, message.removeprefix("msg_").rpartition("_")[0]))
        for part in self.place.parts.values():
            children = tuple((kind, len(found)) for kind, found in part.children().items())
            seen.parts.append(PartFacts(part.name, part.kind, part.files(), children))
        seen.strays = self._strays()
        self.say("deleting all jobs, to see what stays")
        await observer.clean(list(seen.jobs), seen)
        seen.surprises = list(self.place.surprises)

    def _strays(self) -> list[str]:
        """Returns processes of this run that descend from no part: their parents have left them."""
        roots = {part.process.pid for part in self.place.parts.values() if part.process is not None}
        found = []
        for process in processes_of(self.place.run):
            with contextlib.suppress(Exception):  # it ends while it is looked at
                line = {process.pid, *(parent.pid for parent in process.parents())}
                if not line & roots:
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:100]}")
        return found

    def _judge(self, load: Load) -> None:
        model, report = self.journal.model, self.report
        if self.plan.faults and self._quiet_from_s is not None:  # now that also the slow ones have ended
            after = [latency.seconds for latency in load.latencies if latency.begun_s >= self._quiet_from_s]
            report.recovered_s = self.seen.recovered_s = _p95(after) if after else math.inf
        terms = Terms(
            pixels=self.expected, faults=frozenset(report.injected), replicated=self.place.trio is not None
        )  # fmt: skip
        report.violations = violations(model, self.seen, terms)
        report.accepted = len(model.jobs)
        report.states = Counter(job.state for job in self.seen.jobs.values())
        report.states["deleted"] = sum(job not in self.seen.jobs for job in model.jobs)
        report.webhooks, report.readers = len(self.seen.webhooks), len(model.readers)
        for kind, end_s in self.ends:
            later = [latency.ended_s for latency in load.latencies if latency.begun_s >= end_s]
            if later:
                report.recoveries_s.setdefault(kind, []).append(min(later) - end_s)


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else sum(values)


def run_plan(plan: Plan, folder: Path, pictures: Path, expected: dict[int, str], say: Callable[[str], None]) -> Report:
    """Run a plan in a new folder.  The folder goes when all is well, and stays with its logs otherwise."""
    folder.mkdir(parents=True)
    report = asyncio.run(Run(plan, folder, pictures, expected, say).go())
    if not report.violations and not report.interrupted:
        shutil.rmtree(folder, ignore_errors=True)
    return report
