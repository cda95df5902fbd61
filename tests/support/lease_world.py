"""What the model of leases knows: two jobs in a queue, two workers, and requests that come late or never.

A job has the fields that Redis has, and a few that only the checker sees (`blame`, `ends`, `published`).
"""

from typing import NamedTuple

MAX_DEATHS = 2
JOBS = WORKERS = (0, 1)
FINAL = ("succeeded", "failed", "canceled", "expired")


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
