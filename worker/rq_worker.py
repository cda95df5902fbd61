"""Our worker in RQ's eyes: registered, alive, idle or busy, on these queues; `rq info` and dashboards see it.

RQ's own loop is not used: it forks for each job, or sends no heartbeat during one, and takes jobs one by one.
"""

from typing import Any

from redis import Redis
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from jobs.rq_format import ListedJob

TTL_S = 20


class UndegradeWorker(SimpleWorker):
    """Runs `serve` between its birth and its death.  Its methods block: call them from a thread."""

    job_class = ListedJob

    def __init__(self, queues: list[str], name: str, connection: Redis) -> None:
        super().__init__(
            queues, name=name, connection=connection, worker_ttl=TTL_S, serializer=JSONSerializer,
            log_job_description=False,
        )  # fmt: skip

    def work(self, *words: Any, **named: Any) -> bool:  # noqa: ANN401 - RQ's signature
        raise RuntimeError("RQ's loop is not used; worker.supervisor leases jobs for this worker")

    def born(self) -> None:
        """Be seen from now on."""
        self.register_birth()  # type: ignore[no-untyped-call]

    def dead(self) -> None:
        """Be seen no more."""
        self.register_death()  # type: ignore[no-untyped-call]

    def tick(self, busy: bool) -> None:
        """Still alive."""
        self.heartbeat()
        self.set_state("busy" if busy else "idle")
