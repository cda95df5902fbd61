"""Registers our worker with RQ, so that `rq info` and dashboards show it.

RQ's own loop is not used: it takes jobs one by one, and either forks for each job or sends no heartbeat during it.
"""

from contextlib import suppress
from typing import Any, Literal

from redis import Redis
from redis.exceptions import ResponseError
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker
from rq.worker_registration import clean_worker_registry

from jobs.rq_format import ListedJob

WORKER_TTL_S = 20


class UndegradeWorker(SimpleWorker):
    """A worker in RQ's registry.  Its methods block: call them from a thread."""

    job_class = ListedJob

    def __init__(self, queues: list[str], name: str, connection: Redis) -> None:
        super().__init__(
            queues, name=name, connection=connection, worker_ttl=WORKER_TTL_S, serializer=JSONSerializer,
            log_job_description=False,
        )  # fmt: skip

    def _set_ip_address(self, connection: Redis) -> None:
        """Name the connection for `rq info`.  RQ warns where a Redis refuses that, and lists all connections."""
        self.ip_address = "unknown"
        with suppress(ResponseError):
            self.ip_address = str(connection.client_info()["addr"])
            connection.client_setname(self.name)

    def work(self, *words: Any, **named: Any) -> bool:  # noqa: ANN401 - RQ's signature
        raise RuntimeError("RQ's loop is not used: worker.supervisor leases the jobs of this worker")

    def register(self) -> None:
        """Add this worker to RQ's registry, and remove workers that were killed: their entries have no time to live.

        It may be called again after a Redis whose answer was lost.  RQ would refuse the second birth of a name, but
        names of our workers are unique.
        """
        self.connection.delete(self.key)
        self.register_birth()  # type: ignore[no-untyped-call]
        for queue in self.queues:
            clean_worker_registry(queue)

    def unregister(self) -> None:
        """Remove this worker from RQ's registry."""
        self.register_death()  # type: ignore[no-untyped-call]

    def heartbeat_as(self, state: Literal["busy", "idle", "suspended"]) -> None:
        """Say that this worker is alive, and what it does; suspended: it takes no jobs."""
        with self.connection.pipeline() as pipeline:  # else one might stay without a time to live
            self.set_state(state, pipeline)
            self.heartbeat(pipeline=pipeline)
            pipeline.execute()
