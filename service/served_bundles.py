"""Refuses jobs of bundles that no worker has."""

from jobs.queue import Queue
from service.refusals import InvalidRequest


async def check_served(queue: Queue, bundle: str | None, default: str) -> None:
    """Refuse a bundle that no worker has.  The service's own, `default`, may wait for its first worker.

    Raises:
        InvalidRequest: nobody would take its jobs.
    """
    if bundle in (None, default):
        return
    served = {default, *(worker.bundle for worker in await queue.workers.alive() if worker.ready)}
    if bundle not in served:
        problem = f"got {bundle!r}, expected a bundle that a worker has: {', '.join(sorted(served))}"
        raise InvalidRequest(f"bundle: {problem}", errors=[{"field": "bundle", "problem": problem}])
