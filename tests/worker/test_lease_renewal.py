"""The answers to a renewal count for the attempts that asked, not for later ones."""

import asyncio
from types import SimpleNamespace

from worker.held_jobs import HeldJobs
from worker.lease_renewal import LeaseRenewal

JOB = "0" * 32


class Run:
    """An attempt that notes whether it was abandoned."""

    def __init__(self, number: int) -> None:
        self.spec = SimpleNamespace(id=JOB, deadline_ms=None)
        self.leased, self.abandoned = SimpleNamespace(number=number), False
        self.services = SimpleNamespace(queue=None)

    def abandon(self) -> None:
        self.abandoned = True


class LateQueue:
    """Answers "lost" after the job has been leased again."""

    def __init__(self, meanwhile) -> None:
        self.meanwhile, self.asked = meanwhile, {}

    async def renew(self, token, ids, numbers):
        self.asked = dict(numbers)
        self.meanwhile()
        return dict.fromkeys(ids, "lost")


def renew_once(held: HeldJobs, meanwhile) -> LateQueue:
    queue = LateQueue(meanwhile)
    for run in held:
        run.services.queue = queue
    metrics = SimpleNamespace(leases_lost=SimpleNamespace(inc=lambda: None))
    asyncio.run(LeaseRenewal(queue, "token", held, metrics, None)._renew())
    return queue


def test_a_lost_lease_is_abandoned():
    held, run = HeldJobs(), Run(1)
    held.add(run)
    queue = renew_once(held, lambda: None)
    assert run.abandoned and queue.asked == {JOB: 1}


def test_an_answer_to_an_earlier_attempt_does_not_end_the_next_one():
    held, first, second = HeldJobs(), Run(1), Run(2)
    held.add(first)

    def leased_again():
        held.remove(first)
        held.add(second)

    renew_once(held, leased_again)
    assert not second.abandoned and held.holds(second)


def test_only_the_jobs_of_its_own_server_are_renewed():
    held, here, elsewhere = HeldJobs(), Run(1), Run(2)
    elsewhere.spec = SimpleNamespace(id="1" * 32, deadline_ms=None)
    queue = LateQueue(lambda: None)
    here.services.queue = queue
    held.add(here)
    held.add(elsewhere)
    metrics = SimpleNamespace(leases_lost=SimpleNamespace(inc=lambda: None))
    asyncio.run(LeaseRenewal(queue, "token", held, metrics, None)._renew())
    assert queue.asked == {JOB: 1} and not elsewhere.abandoned
