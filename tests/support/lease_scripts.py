"""The scripts lease, renew, release, release_unheld, reclaim, commit and finish, as the model of leases runs them.

A `guard` is a condition of the real scripts or of the worker that the model can leave out: see GUARDS.
"""

from lease_world import JOBS, MAX_DEATHS, Job, Request, World

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


class LeaseScripts:
    """The scripts, without the guard `removed`.  Each takes jobs and the queue, and returns them with its answer."""

    def __init__(self, removed: str = "") -> None:
        assert not removed or removed in GUARDS, removed
        self.removed = removed

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
