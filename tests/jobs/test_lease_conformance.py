"""The model of leases does what the real scripts do: the same steps on a real Valkey lead to the same states."""

import random

from lease_model import LeaseModel
from lease_world import JOBS, WORKERS, Step, World
from model_check import Exploration, explore
from queue_bench import BUNDLE, LANES, MANY, QueueBench, finished, spec

from jobs import redis_keys
from jobs.spec import JobSpec

TOKENS = ("a", "b")
SAMPLE = 8
FAR_MS = 2**50


class RealWorld:
    """Two jobs in a real queue, to which the steps of a trace are done."""

    def __init__(self, bench: QueueBench) -> None:
        self.bench, self.queue, self.redis = bench, bench.queue, bench.redis
        self.jobs: list[JobSpec] = []

    async def begin(self) -> None:
        await self.redis.flushall()
        self.jobs = [spec("standard", deadline_ms=FAR_MS if index == 0 else None) for index in JOBS]
        for job in self.jobs:
            await self.queue.submit(job, MANY)

    async def do(self, step: Step) -> None:
        """Do what a step does to Redis, and compare the answers.  Other steps are in the workers alone."""
        job = self.jobs[step.job]
        if step.request is not None and step.answer is not None and not step.name.startswith("no-answer"):
            assert await self._request(step) == step.answer, step
        elif step.name == "cancel":
            assert await self.queue.cancel(job.id) in ("queued", "running")
        elif step.name == "deadline":
            await self.redis.hset(redis_keys.JOB + job.id, "deadline_ms", 1)
            await self.redis.zadd(redis_keys.DEADLINES, {job.id: 1}, xx=True)
        elif step.name == "expire":
            assert await self.queue.expire() == [job.id]
        elif step.name == "lease-ends":
            await self.bench.end_lease(job)
        elif step.name == "reclaim":
            over = await self.redis.zrangebyscore(redis_keys.LEASES, "-inf", 1)
            others = [other for other in over if other != job.id.encode()]
            for other in others:  # the script takes all at once, the model one after the other
                await self.redis.zadd(redis_keys.LEASES, {other: FAR_MS})
            assert list(await self.queue.reclaim()) == [job.id]
            for other in others:
                await self.redis.zadd(redis_keys.LEASES, {other: 1}, xx=True)

    async def _request(self, step: Step) -> tuple:
        request, token, answer = step.request, TOKENS[step.worker], step.answer
        ids = [self.jobs[job].id for job, _ in request.runs]
        numbers = {self.jobs[job].id: number for job, number in request.runs}
        index = {job.id: place for place, job in enumerate(self.jobs)}
        if request.what == "lease":
            leased, refused = await self.queue.lease([BUNDLE], LANES, 1, worker=token, token=token, held=request.held)
            assert not refused
            return tuple((index[each.spec.id], each.number, each.run_alone) for each in leased)
        if request.what == "unheld":
            released = await self.queue.release_unheld(token, ids, numbers)
            return tuple(sorted(index[each] for each in released)) if len(released) < 2 else answer
        if request.what == "renew":
            return tuple((await self.queue.renew(token, ids, numbers)).values())
        if request.what == "commit":
            ((job, number),) = request.runs
            fence = f"{step.worker}.{number}"
            row = finished(self.jobs[job], fence=fence, number=number)
            (state,) = await self.queue.commit(token, [row])
            return (str(state) if state else "lost",)
        said = await self.queue.release(token, ids[::-1], died=request.died, numbers=numbers)
        return tuple(said[each] for each in ids)

    async def compare(self, world: World) -> None:
        """Compare everything that the model and Redis both know."""
        queued = await self.redis.lrange(f"{redis_keys.RQ_QUEUE}{BUNDLE}.standard", 0, -1)
        assert [job.decode() for job in queued] == [self.jobs[index].id for index in world.queue]
        for job, known in zip(world.jobs, self.jobs, strict=True):
            fields = await self.redis.hgetall(redis_keys.JOB + known.id)
            score = await self.redis.zscore(redis_keys.LEASES, known.id)
            holder = fields.get(b"lease", b"").decode()
            assert (
                fields[b"state"].decode(), TOKENS.index(holder) if holder else -1,
                int(fields.get(b"lease_number", 0)), None if score is None else "over" if score == 1 else "fresh",
                b"alone" in fields,
            ) == (job.state, job.holder, job.number, job.lease, job.alone)  # fmt: skip
            if job.state in ("queued", "running"):
                assert (int(fields.get(b"deaths", 0)), b"cancel" in fields) == (job.deaths, job.cancel)
            types = [event.type for event in await self.queue.events(known.id)]
            assert sum(kind in ("completed", "failed", "canceled", "expired") for kind in types) == job.ends


def kinds_of_steps(found: Exploration) -> dict[tuple, World]:
    """Returns for each kind of step (with its answer, and the states before and after) the first world after it."""
    first: dict[tuple, World] = {}
    for world, way in found.ways.items():
        if way is None:
            continue
        step, before = way
        states = {(old.state, new.state) for old, new in zip(before.jobs, world.jobs, strict=True) if old != new}
        said = tuple(str(each if isinstance(each, str) else type(each)) for each in step.answer)
        kind = (step.name, step.request and (step.request.what, step.request.died), said, tuple(sorted(states)))
        first.setdefault(kind, world)
    return first


def test_the_real_scripts_do_what_the_model_says(run):
    model = LeaseModel(faults=1, cancels=1)
    found = explore(model.first, model.steps, lambda world: None, lambda world: True)
    worlds = list(kinds_of_steps(found).values())
    assert {found.ways[world][0].name for world in worlds} >= {
        "lease", "unheld", "renew", "commit", "release", "late", "cancel", "expire", "reclaim",
    }  # fmt: skip
    worlds += random.Random(5).sample(list(found.ways), SAMPLE)
    told = set(map(id, worlds))

    async def scenario(bench):
        real = RealWorld(bench)
        for world in worlds:
            trace = found.trace(world)
            await real.begin()
            for number, (step, after) in enumerate(trace):
                await real.do(step)
                if number == len(trace) - 1 or id(after) in told:
                    await real.compare(after)

    run(scenario)
    assert len(WORKERS) == len(TOKENS)
