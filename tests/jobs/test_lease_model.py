"""The protocol of leases keeps its promises in every order of events that a small world has.

The model is tests/support/lease_model.py.  test_lease_conformance.py compares it with the real scripts.
"""

import pytest
from lease_model import LeaseModel
from lease_scripts import GUARDS
from lease_world import FINAL, JOBS, MAX_DEATHS, World
from model_check import Exploration, explore

FINDS = {"commit-number": (2, 0), "release-lease": (2, 0), "release-number": (2, 0), "requeue-deaths": (2, 0)}
"""(faults, cancels) of a world that shows that a guard is missing, where one of each does not."""


def complaint(world: World) -> str | None:
    """Returns the promise that a world breaks."""
    for index in JOBS:
        job = world.jobs[index]
        if world.queue.count(index) != (job.state == "queued"):
            return f"job {index} is {job.state}, and {world.queue.count(index)} times in its queue"
        if (job.lease is not None) != (job.state == "running") or (job.holder >= 0) != (job.state == "running"):
            return f"job {index} is {job.state} with the lease {job.lease}"
        if job.ends != (job.state in FINAL):
            return f"job {index} is {job.state} and has ended {job.ends} times"
        if job.cancel and job.state not in ("running", "canceled"):
            return f"job {index} was canceled and is {job.state}"
        if job.state == "succeeded" and job.published <= job.dropped:
            return f"job {index} was published by lease {job.published}, whose pictures went with the next lease"
        if any((index, job.published) in worker.discarded for worker in world.workers) and job.state == "succeeded":
            return f"job {index} was published, and its worker deleted the pictures"
        if job.deaths > job.blame:
            return f"job {index} counts {job.deaths} deaths, and there were {job.blame}"
        if job.deaths >= MAX_DEATHS and job.state in ("queued", "running"):
            return f"job {index} goes on after {job.deaths} deaths"
    for worker in world.workers:
        if all(worker.runs) and any(alone for _, alone in worker.runs):
            return "a job that must run alone shares its worker"
    return None


def check(model: LeaseModel) -> Exploration:
    return explore(model.first, model.steps, complaint, lambda world: all(job.state in FINAL for job in world.jobs))


@pytest.mark.parametrize(("faults", "cancels"), [(0, 1), (1, 1), (2, 0), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_no_order_of_events_breaks_a_promise(faults, cancels):
    found = check(LeaseModel(faults=faults, cancels=cancels))
    assert found.fault is None, found.story()
    ends = {tuple(job.state for job in world.jobs) for world in found.ways}
    assert (("succeeded", "succeeded") in ends and ("canceled", "succeeded") in ends) or not cancels


@pytest.mark.parametrize("guard", GUARDS)
def test_a_missing_guard_is_found(guard):
    faults, cancels = FINDS.get(guard, (1, 1))
    found = check(LeaseModel(guard, faults=faults, cancels=cancels))
    assert found.fault is not None, f"the checker does not need: {GUARDS[guard]}"
    assert len(found.trace(found.fault[1])) <= 12, "the shortest way to a fault is short"
