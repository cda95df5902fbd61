"""The keeper of the engine child: replacements, their pauses, hangs, and its word on a child that can never load.

Only the child's process is fake: `FakeChild` stands for worker.engine_link.EngineLink.
"""

import asyncio
from dataclasses import dataclass, field

import pytest

from worker.engine_config import EngineConfig
from worker.engine_keeper import FIRST_PAUSE_S, LONGEST_PAUSE_S, MAX_LOADS, STEADY_S, EngineKeeper
from worker.messages import Done, NotReady, Ping, Ready
from worker.supervisor import Supervisor, WorkerConfig
from worker.watchdog import STOPPED_S, Vitals

KILLED, BROKEN = -9, 70
READY = Ready(device="cpu", why="", bundles=())
DONE = Done(id="1", outcome=None)


@dataclass
class FakeChild:
    """A child process: `code` is its exit code, `stopped` whether it was stopped; `refusals` fail its next starts."""

    code: int | None = None
    stopped: bool = False
    alive: bool = True
    ready: Ready | None = None
    starts: int = 0
    refusals: int = 0
    sent: list[object] = field(default_factory=list)
    killed: bool = False

    async def start(self):
        if self.refusals:
            self.refusals -= 1
            raise OSError(11, "Resource temporarily unavailable")
        self.starts += 1

    def exit_code(self):
        return self.code

    def vitals(self):
        return Vitals(cpu_s=1.0, stopped=self.stopped)

    def send(self, command):
        self.sent.append(command)

    def kill(self):
        self.killed, self.alive, self.code = True, False, KILLED


class Bench:
    """A keeper whose time passes at once; `pauses` are those it announced, in seconds, `troubles` its sentences."""

    def __init__(self, monkeypatch, memory_kills=True):
        self.child, self.now_s, self.draining = FakeChild(), 0.0, asyncio.Event()
        self.troubles, self._kills, self._memory_kills = [], 0, memory_kills
        monkeypatch.setattr("worker.engine_keeper.oom_kills", self._count_kills)
        self.keeper = EngineKeeper(
            self.child, self.draining, lambda: self.troubles.append(self.keeper.trouble),
            clock=lambda: self.now_s, sleep=self._sleep,
        )  # fmt: skip

    def _count_kills(self):  # of the kernel: one more at each look, where memory is short
        self._kills += self._memory_kills
        return self._kills

    async def _sleep(self, seconds):
        self.now_s += seconds
        await asyncio.sleep(0)

    async def die(self, code=KILLED):
        """The child ends; the keeper replaces it, without a real pause."""
        self.child.code, self.child.ready = code, None
        death = await self.keeper.death()
        self.draining.set()  # ends the pause
        await self.keeper.replace(death)
        self.draining.clear()
        return death

    def load(self):
        self.child.ready = READY
        self.keeper.heard(READY)

    @property
    def pauses(self):
        words = [trouble.rpartition(" starts in ")[2] for trouble in self.troubles if " starts in " in trouble]
        return [float(word.removesuffix(" s")) for word in words]


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_the_pauses_double_up_to_their_limit_and_each_is_told(bench):
    async def scenario():
        await bench.keeper.start()
        for _ in range(10):
            await bench.die()

    asyncio.run(scenario())
    assert bench.child.starts == 11, "every death is followed by one start"
    assert bench.pauses == [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(10)]
    assert all("lack of memory" in trouble for trouble in bench.troubles)
    assert bench.keeper.trouble.endswith("a new one loads its bundles")


def test_a_pause_is_waited_for(bench):
    async def scenario():
        bench.child.code = BROKEN
        replacing = asyncio.create_task(bench.keeper.replace(await bench.keeper.death()))
        await asyncio.sleep(0.05)
        assert bench.child.starts == 0 and not replacing.done()
        await asyncio.wait_for(replacing, 30)
        assert bench.child.starts == 1

    asyncio.run(scenario())


def test_a_drain_ends_a_pause_at_once(bench):
    async def scenario():
        for _ in range(9):
            await bench.die()
        assert bench.pauses[-1] == LONGEST_PAUSE_S
        bench.child.code = KILLED
        replacing = asyncio.create_task(bench.keeper.replace(await bench.keeper.death()))
        await asyncio.sleep(0.01)
        assert not replacing.done()
        bench.draining.set()
        await asyncio.wait_for(replacing, LONGEST_PAUSE_S / 4)  # the held jobs may still need an engine
        assert bench.child.starts == 10

    asyncio.run(scenario())


def test_a_refused_start_is_tried_again_with_a_longer_pause_and_not_during_a_drain(bench):
    async def scenario():
        bench.child.refusals, bench.child.code = 1, BROKEN
        await asyncio.wait_for(bench.keeper.replace(await bench.keeper.death()), 30)
        assert bench.child.starts == 1 and bench.pauses == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S]
        assert "cannot be started: Resource temporarily unavailable" in bench.troubles[1]
        bench.child.refusals = 99
        await asyncio.wait_for(bench.die(BROKEN), 30)
        assert bench.child.starts == 1 and bench.child.refusals == 98

    asyncio.run(scenario())


@pytest.mark.parametrize("steady", ["a job is done", "it was ready for a while"])
def test_after_a_steady_run_the_pause_is_short_again(bench, steady):
    async def scenario():
        for _ in range(4):
            await bench.die()
        bench.load()
        if steady == "a job is done":
            bench.keeper.heard(DONE)
        else:
            bench.now_s += STEADY_S
        await bench.die()

    asyncio.run(scenario())
    assert bench.pauses[-2:] == [FIRST_PAUSE_S * 2**3, FIRST_PAUSE_S]


def test_a_child_that_dies_soon_after_it_was_ready_is_not_steady(bench):
    async def scenario():
        for _ in range(4):
            bench.load()
            bench.now_s += STEADY_S / 2
            await bench.die(BROKEN)
            bench.now_s += STEADY_S  # while the next one loads

    asyncio.run(scenario())
    assert bench.pauses == [FIRST_PAUSE_S * 2**n for n in range(4)]


@pytest.mark.parametrize(
    ("code", "memory_kills", "failure", "words"),
    [
        (KILLED, True, "out-of-memory", "was killed for lack of memory"),
        (KILLED, False, "poison-suspected", "ended with exit code -9"),
        (BROKEN, True, "poison-suspected", "ended with exit code 70"),
    ],
)
def test_a_death_says_its_cause_and_how_its_job_fails(monkeypatch, code, memory_kills, failure, words):
    bench = Bench(monkeypatch, memory_kills)

    async def scenario():
        await bench.keeper.start()
        return await bench.die(code)

    death = asyncio.run(scenario())
    assert death.failure.code == failure and words in death.why
    assert "while it loaded" in bench.troubles[-1]


def test_an_engine_that_never_finds_memory_says_so_until_one_is_ready(bench):
    async def scenario():
        for _ in range(MAX_LOADS - 1):
            await bench.die()
        assert bench.keeper.cannot_load is None
        await bench.die()
        failure = bench.keeper.cannot_load
        assert failure.code == "out-of-memory" and failure.hint and "lack of memory" in failure.detail
        bench.load()
        assert bench.keeper.cannot_load is None and bench.keeper.trouble == ""
        for _ in range(MAX_LOADS):  # not in a row
            for code in (*[KILLED] * (MAX_LOADS - 1), BROKEN):
                await bench.die(code)
                assert bench.keeper.cannot_load is None
        bench.load()
        for _ in range(MAX_LOADS):  # the first of them while it worked
            assert bench.keeper.cannot_load is None
            await bench.die()
        assert bench.keeper.cannot_load is None

    asyncio.run(scenario())


def test_a_hanging_child_is_killed_once_and_its_death_says_why(bench):
    async def scenario():
        await bench.keeper.start()
        bench.load()
        bench.child.stopped = True
        watching = asyncio.create_task(bench.keeper.run())
        while not bench.child.killed:
            await asyncio.sleep(0)
        watching.cancel()
        assert STOPPED_S <= bench.now_s <= STOPPED_S + 2
        death = await bench.keeper.death()
        assert death.why.startswith("hung: ") and death.failure.code == "poison-suspected"
        await bench.keeper.start()
        bench.child.code = BROKEN
        assert "hung" not in (await bench.keeper.death()).why, "the next child has its own watchdog"

    asyncio.run(scenario())


def test_a_ready_child_is_asked_for_signs_of_life_and_a_loading_one_is_not(bench):
    async def scenario():
        watching = asyncio.create_task(bench.keeper.run())
        while bench.now_s < 3:
            await asyncio.sleep(0)
        assert bench.child.sent == []
        bench.load()
        while bench.now_s < 6:
            await asyncio.sleep(0)
        watching.cancel()
        assert set(bench.child.sent) == {Ping()}

    asyncio.run(scenario())


def test_a_child_that_says_not_ready_ends_the_worker_and_no_other_is_started(tmp_path):
    async def scenario():
        config = WorkerConfig(
            redis_url=f"unix://{tmp_path}/none", store_url="memory://", engine=EngineConfig(bundles={"b": tmp_path})
        )
        supervisor = Supervisor(config)
        supervisor.link = supervisor.keeper.link = child = FakeChild()
        not_ready = NotReady("got a broken bundle, expected a good one", of_device=False)
        supervisor._on_answer(not_ready)
        supervisor._on_answer(None)
        while supervisor.background:
            await asyncio.sleep(0)
        assert supervisor.keeper.failure is not_ready
        assert supervisor._draining.is_set() and child.starts == 0
        await supervisor.codec.close()

    asyncio.run(scenario())
