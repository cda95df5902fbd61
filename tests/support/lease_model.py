"""A model of leases that is small enough to be explored whole: two workers, two jobs, requests that come late or never.

Its steps are those of the scripts (lease_scripts.py), of time, and of the worker's four tasks: the lease loop, the
renewal, the committer and the releases.  What it knows is in lease_world.py.  `model_check` explores it.
"""

from collections.abc import Iterator
from functools import cache

from lease_scripts import LeaseScripts
from lease_world import FINAL, JOBS, WORKERS, Job, Request, Step, Worker, World


class LeaseModel(LeaseScripts):
    """The steps, without the guard `removed`."""

    def __init__(self, removed: str = "", faults: int = 2, cancels: int = 1) -> None:
        super().__init__(removed)
        self.first = World((Job(), Job()), JOBS, (Worker(), Worker()), (), faults, cancels)

    def steps(self, world: World) -> Iterator[tuple[Step, World]]:
        """Yields each step that is possible, with the world after it."""
        for step, after in self._all_steps(world):
            yield step, _plain(after)

    def _all_steps(self, world: World) -> Iterator[tuple[Step, World]]:
        for index in JOBS:
            yield from self._steps_of_job(world, index)
        for worker in WORKERS:
            if world.workers[worker].alive:
                yield from self._steps_of_worker(world, worker)
        for place, (worker, request) in enumerate(world.late):
            left = world._replace(late=world.late[:place] + world.late[place + 1 :])
            after, answer = self.execute(left, worker, request)
            yield Step("late", worker, request=request, answer=answer), after

    def _steps_of_job(self, world: World, index: int) -> Iterator[tuple[Step, World]]:
        job = world.jobs[index]

        def changed(after: Job, queue: tuple[int, ...] = world.queue, **fields: int) -> World:
            jobs = tuple(after if i == index else other for i, other in enumerate(world.jobs))
            return world._replace(jobs=jobs, queue=queue, **fields)

        if world.cancels and job.state in ("queued", "running"):
            if job.state == "queued":
                after, queue = self.finish(job._replace(cancel=True), "canceled", world.queue, index)
            else:
                after, queue = job._replace(cancel=True), world.queue
            yield Step("cancel", job=index), changed(after, queue, cancels=world.cancels - 1)
        if index == 0 and world.faults and not job.late and job.state in ("queued", "running"):
            yield Step("deadline", job=index, fault=True), changed(job._replace(late=True), faults=world.faults - 1)
        if job.state == "queued" and job.late:
            after, queue = self.finish(job, "expired", world.queue, index)
            yield Step("expire", job=index), changed(after, queue)
        if job.lease == "fresh":
            if not self._is_minded(world, index):  # nobody renews it, so time alone ends it
                yield Step("lease-ends", job=index), changed(job._replace(lease="over"))
            elif world.faults:  # the worker sleeps for longer than its lease
                after = job._replace(lease="over", blame=job.blame + 1)
                yield Step("lease-ends", job=index, fault=True), changed(after, faults=world.faults - 1)
        if job.lease == "over":
            jobs = list(world.jobs)
            queue, _ = self.requeue(jobs, world.queue, index, 1)
            yield Step("reclaim", job=index), world._replace(jobs=tuple(jobs), queue=queue)

    @staticmethod
    def _is_minded(world: World, index: int) -> bool:
        """Whether the holder of a job's lease knows of it, or is about to."""
        job = world.jobs[index]
        worker = world.workers[job.holder] if job.holder >= 0 else Worker(alive=False)
        run = worker.runs[index]
        knows = run is not None and run[0] == job.number
        told = worker.leased is not None and any(index == other for other, _, _ in worker.leased)
        releases = worker.release is not None and (index, job.number) in worker.release.runs
        return worker.alive and (knows or told or releases or worker.orphans)

    def _steps_of_worker(self, world: World, index: int) -> Iterator[tuple[Step, World]]:
        worker = world.workers[index]
        held = tuple((job, run[0]) for job, run in enumerate(worker.runs) if run)
        if worker.leased is not None:
            yield Step("leased", index), _acting(world, index, self._told_leased(worker))
        elif worker.orphans or (world.queue and not any(run and run[1] for run in worker.runs)):
            request = Request("unheld", held) if worker.orphans else Request("lease", held=len(held))
            yield from self._leasing(world, index, request)
        if worker.renewed is not None:
            yield Step("renewed", index), _acting(world, index, self._told_renewed(worker))
        elif any(not self._is_plain(world, index, *run) for run in held):
            # Renewals are sent all the time.  Here only when the answer tells or changes something
            request = Request("renew", held)
            after, answer = self.execute(world, index, request)
            told = tuple((*run, said) for run, said in zip(held, answer, strict=True))
            yield (
                Step("renew", index, request=request, answer=answer),
                _acting(after, index, worker._replace(renewed=told)),
            )
        for run in dict.fromkeys((*worker.done, *held)):
            yield from self._committing(world, index, run)
        if worker.release is not None:
            after, answer = self.execute(world, index, worker.release)
            step = Step("release", index, request=worker.release, answer=answer)
            yield step, _acting(after, index, worker._replace(release=None))
            if world.faults:
                yield self._lost(world, index, worker.release, worker)
        if world.faults:
            yield from self._fates(world, index)

    def _lost(self, world: World, index: int, request: Request, after: Worker) -> tuple[Step, World]:
        """The worker gets no answer, and Redis may get the request later, or never."""
        late = (*world.late, (index, request))
        step = Step(f"no-answer-to-{request.what}", index, request=request, fault=True)
        return step, _acting(world._replace(faults=world.faults - 1, late=late), index, after)

    @staticmethod
    def _is_plain(world: World, index: int, job: int, number: int) -> bool:
        known = world.jobs[job]
        return (known.holder, known.number, known.lease, known.cancel) == (index, number, "fresh", False)

    def _leasing(self, world: World, index: int, request: Request) -> Iterator[tuple[Step, World]]:
        # Redis reads a connection that broke before one that was opened after it: no older lease comes after this
        late = tuple(old for old in world.late if old[0] != index or old[1].what not in ("lease", "unheld"))
        after, answer = self.execute(world._replace(late=late), index, request)
        worker = world.workers[index]
        told = worker._replace(leased=answer) if request.what == "lease" else worker._replace(orphans=False)
        yield Step(request.what, index, request=request, answer=answer), _acting(after, index, told)
        if world.faults:
            yield self._lost(world, index, request, worker._replace(orphans=self.removed != "orphans-first"))

    def _committing(self, world: World, index: int, run: tuple[int, int]) -> Iterator[tuple[Step, World]]:
        worker, request = world.workers[index], Request("commit", (run,))
        after, (said,) = self.execute(world, index, request)
        told = worker._replace(done=tuple(other for other in worker.done if other != run))
        if said != "succeeded":
            told = told._replace(discarded=told.discarded | {run})
        yield Step("commit", index, request=request, answer=(said,)), _acting(after, index, _without(told, *run))
        if world.faults:
            waiting = worker._replace(done=tuple(dict.fromkeys((*worker.done, run))))
            yield self._lost(world, index, request, waiting)

    def _fates(self, world: World, index: int) -> Iterator[tuple[Step, World]]:
        worker, fewer = world.workers[index], world.faults - 1
        working = tuple(
            (job, run[0]) for job, run in enumerate(worker.runs) if run and (job, run[0]) not in worker.done
        )
        if working and worker.release is None:
            for died in (True, False):
                gone = worker
                for run in working:
                    gone = _without(gone, *run)
                jobs = tuple(
                    job._replace(blame=job.blame + (died and job.holder == index and (place, job.number) in working))
                    for place, job in enumerate(world.jobs)
                )
                gone = gone._replace(release=Request("release", working, died=died))
                step = Step("engine-dies" if died else "store-fails", index, fault=True)
                yield step, _acting(world._replace(jobs=jobs, faults=fewer), index, gone)
        if index == 0:
            jobs = tuple(job._replace(blame=job.blame + (job.holder == index)) for job in world.jobs)
            dead = Worker(alive=False, discarded=worker.discarded)
            yield Step("kill", index, fault=True), _acting(world._replace(jobs=jobs, faults=fewer), index, dead)

    # What a worker does with an answer

    def _told_leased(self, worker: Worker) -> Worker:
        for job, number, alone in worker.leased or ():  # an earlier run of the job is abandoned; its commit is not
            worker = worker._replace(runs=_with(worker.runs, job, (number, alone)))
        return worker._replace(leased=None)

    def _told_renewed(self, worker: Worker) -> Worker:
        for job, number, said in worker.renewed or ():
            run = worker.runs[job]
            if run is None or (job, run[0]) in worker.done:
                continue
            if run[0] != number and self.removed != "answer-of-this-run":
                continue
            if said == "lost":
                worker = _without(worker, job, run[0])
            elif said == "cancel":
                worker = worker._replace(done=(*worker.done, (job, run[0])))
        return worker._replace(renewed=None)


def _with(values: tuple, place: int, value: object) -> tuple:
    return (*values[:place], value, *values[place + 1 :])


def _without(worker: Worker, job: int, number: int) -> Worker:
    """Returns the worker without a run; a later run of the same job stays."""
    run = worker.runs[job]
    return worker._replace(runs=_with(worker.runs, job, None)) if run and run[0] == number else worker


def _plain(world: World) -> World:
    """Returns the world without what cannot matter any more, so that fewer worlds differ."""
    if not any(job.state in FINAL for job in world.jobs):
        return world
    jobs = tuple(map(_plain_job, world.jobs))
    workers = tuple(
        worker._replace(discarded=kept)
        if worker.discarded != (kept := _that_matter(worker.discarded, jobs))
        else worker
        for worker in world.workers
    )
    return World(jobs, world.queue, workers, world.late, world.faults, world.cancels)


@cache
def _plain_job(job: Job) -> Job:
    if job.state not in FINAL or job.deaths > job.blame:
        return job
    return job._replace(deaths=0, blame=0, late=False, dropped=0 if job.published > job.dropped else job.dropped)


def _that_matter(discarded: frozenset[tuple[int, int]], jobs: tuple[Job, ...]) -> frozenset[tuple[int, int]]:
    return frozenset(
        (job, number) for job, number in discarded if jobs[job].state not in FINAL or jobs[job].published == number
    )


def _acting(world: World, index: int, worker: Worker) -> World:
    return world._replace(workers=_with(world.workers, index, worker))
