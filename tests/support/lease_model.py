"""A model of leases that is small enough to be explored whole: two workers, two jobs, requests that come late or never.

Its steps are those of the scripts lease, renew, release, release_unheld, reclaim, commit, cancel and expire, and of the
worker's four tasks: the lease loop, the renewal, the committer and the releases.  A job has the fields that Redis has,
and a few that only the checker sees (`blame`, `ends`, `published`).  `model_check` explores it.

A `guard` is a condition of the real scripts or of the worker that the model can leave out: see GUARDS.
"""

from collections.abc import Iterator
from typing import NamedTuple

MAX_DEATHS = 2
JOBS = WORKERS = (0, 1)
FINAL = ("succeeded", "failed", "canceled", "expired")

GUARDS = {
    "commit-lease": "commit.lua: only with the lease",
    "commit-number": "commit.lua: only with the lease of this attempt, not with a later one of the same worker",
    "commit-cancel": "commit.lua: a cancel that came first wins",
    "commit-fence": "commit.lua: a repeated commit answers as before",
    "renew-lease": "renew.lua: only with the lease",
    "release-lease": "release.lua: only with the lease",
    "release-number": "release.lua: only with the lease of this attempt",
    "requeue-cancel": "requeue: a canceled job ends",
    "requeue-deaths": "requeue: a job that died too often ends",
    "lease-alone": "lease.lua: a job that must run alone waits for a worker without others",
    "cancel-leaves-queue": "finish: a queued job leaves its queue",
    "finish-leaves-leases": "finish: a job that has ended has no lease",
    "answer-of-this-run": "lease_renewal.py: the answer counts for the run that asked, not for a later one",
    "orphans-first": "lease_loop.py: jobs of a lost answer are put back before the next lease",
}
"""Each guard that a test removes, with the place where it is."""


class Job(NamedTuple):
    """`lease`: None (in no list of leases), "fresh" or "over".  `blame`: how often its worker or engine really died."""

    state: str = "queued"
    holder: int = -1
    number: int = 0
    lease: str | None = None
    cancel: bool = False
    late: bool = False
    deaths: int = 0
    alone: bool = False
    fence: tuple[int, int] | None = None
    ends: int = 0
    published: int = 0
    dropped: int = 0
    blame: int = 0


class Request(NamedTuple):
    """`what`: lease, unheld, renew, commit or release.  `runs`: (job, number of its lease).  `died`: of a release."""

    what: str
    runs: tuple[tuple[int, int], ...] = ()
    held: int = 0
    died: bool = False


class Worker(NamedTuple):
    """What a worker knows.

    Attributes:
        runs: by job, (number of its lease, whether it must run alone).
        done: (job, number) of ended runs whose commit had no answer.
        orphans: a lease had no answer.
        leased: an answer to a lease that has not arrived yet.
        renewed: the same for a renewal: (job, number, answer) of each job.
        release: the release that has to be sent.
        discarded: (job, number) of runs whose pictures it has deleted.
    """

    alive: bool = True
    runs: tuple[tuple[int, bool] | None, ...] = (None, None)
    done: tuple[tuple[int, int], ...] = ()
    orphans: bool = False
    leased: tuple[tuple[int, int, bool], ...] | None = None
    renewed: tuple[tuple[int, int, str], ...] | None = None
    release: Request | None = None
    discarded: frozenset[tuple[int, int]] = frozenset()


class World(NamedTuple):
    """`late`: requests that their worker has given up, and that Redis may still get.  `faults`, `cancels`: left."""

    jobs: tuple[Job, ...]
    queue: tuple[int, ...]
    workers: tuple[Worker, ...]
    late: tuple[tuple[int, Request], ...]
    faults: int
    cancels: int


class Step(NamedTuple):
    """What happens: its name, who and what it concerns, and what the script answers.  `fault`: it need not happen."""

    name: str
    worker: int = -1
    job: int = -1
    request: Request | None = None
    answer: tuple = ()
    fault: bool = False


class LeaseModel:
    """The steps, without the guards in `removed`."""

    def __init__(self, removed: str = "", faults: int = 2, cancels: int = 1) -> None:
        assert not removed or removed in GUARDS, removed
        self.removed = removed
        self.first = World((Job(), Job()), JOBS, (Worker(), Worker()), (), faults, cancels)

    # The scripts: each takes the jobs and the queue, and returns them with its answer

    def finish(self, job: Job, state: str, queue: tuple[int, ...], index: int) -> tuple[Job, tuple[int, ...]]:
        """`finish` of finish_and_requeue.lua."""
        if job.state == "queued" and self.removed != "cancel-leaves-queue":
            queue = tuple(other for other in queue if other != index)
        lease = job.lease if self.removed == "finish-leaves-leases" else None
        ended = job._replace(state=state, holder=-1, lease=lease, alone=False, ends=job.ends + 1)
        return ended, queue

    def requeue(self, jobs: list[Job], queue: tuple[int, ...], index: int, deaths: int) -> tuple[tuple[int, ...], str]:
        """`requeue` of finish_and_requeue.lua."""
        job = jobs[index]
        if job.cancel and self.removed != "requeue-cancel":
            jobs[index], queue = self.finish(job, "canceled", queue, index)
            return queue, "canceled"
        job = job._replace(deaths=job.deaths + deaths)
        if job.deaths >= MAX_DEATHS and self.removed != "requeue-deaths":
            jobs[index], queue = self.finish(job, "failed", queue, index)
            return queue, "poison"
        if job.late:
            jobs[index], queue = self.finish(job, "expired", queue, index)
            return queue, "expired"
        jobs[index] = job._replace(
            state="queued", holder=-1, lease=None, alone=job.alone or deaths > 0, dropped=job.number
        )
        return (index, *queue), "queued"

    def holds(self, job: Job, worker: int, number: int, script: str) -> bool:
        """`holds` of prelude.lua."""
        if self.removed == f"{script}-lease":
            return True
        same = job.number == number or self.removed == f"{script}-number"
        return job.state == "running" and job.holder == worker and same

    def execute(self, world: World, worker: int, request: Request) -> tuple[World, tuple]:
        """One run of a script.  Returns its answer, too."""
        jobs, queue, answer = list(world.jobs), world.queue, []
        if request.what == "lease":
            queue, answer = self._lease(world, jobs, worker, request)
        for index, number in request.runs if request.what in ("renew", "commit", "release") else ():
            job = jobs[index]
            if request.what == "commit" and job.fence == (worker, number) and self.removed != "commit-fence":
                answer.append(job.state)
            elif not self.holds(job, worker, number, request.what):
                answer.append("lost")
            elif request.what == "renew":
                jobs[index] = job._replace(lease="fresh")
                answer.append("cancel" if job.cancel else "ok")
            elif request.what == "release":
                queue, said = self.requeue(jobs, queue, index, int(request.died))
                answer.append(said)
            else:
                state = "canceled" if job.cancel and self.removed != "commit-cancel" else "succeeded"
                ended, queue = self.finish(job, state, queue, index)
                jobs[index] = ended._replace(fence=(worker, number), published=number if state == "succeeded" else 0)
                answer.append(state)
        if request.what == "unheld":
            for index in JOBS:
                known = (index, jobs[index].number) in request.runs
                if jobs[index].state == "running" and jobs[index].holder == worker and not known:
                    queue, _ = self.requeue(jobs, queue, index, 0)
                    answer.append(index)
        return world._replace(jobs=tuple(jobs), queue=queue), tuple(answer)

    def _lease(self, world: World, jobs: list[Job], worker: int, request: Request) -> tuple[tuple[int, ...], list]:
        queue: tuple[int, ...] = world.queue
        while queue:
            index, job = queue[0], jobs[queue[0]]
            if job.alone and request.held and self.removed != "lease-alone":
                return queue, []
            queue = queue[1:]
            if job.state != "queued":
                continue
            if job.late:
                jobs[index], queue = self.finish(job, "expired", queue, index)
                continue
            jobs[index] = job._replace(
                state="running", holder=worker, number=job.number + 1, lease="fresh",
                blame=job.blame + (not world.workers[worker].alive),
            )  # fmt: skip
            return queue, [(index, job.number + 1, job.alone)]
        return queue, []

    # The worlds that may follow

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
    jobs = tuple(
        job._replace(deaths=0, blame=0, late=False, dropped=0 if job.published > job.dropped else job.dropped)
        if job.state in FINAL and job.deaths <= job.blame
        else job
        for job in world.jobs
    )
    workers = world.workers
    if any(worker.discarded for worker in workers):
        workers = tuple(
            worker._replace(
                discarded=frozenset(
                    (job, number)
                    for job, number in worker.discarded
                    if jobs[job].state not in FINAL or jobs[job].published == number
                )
            )
            for worker in workers
        )
    return world._replace(jobs=jobs, workers=workers)


def _acting(world: World, index: int, worker: Worker) -> World:
    return world._replace(workers=_with(world.workers, index, worker))
