"""What a number of GPUs and photos a second need, by arithmetic from measured rates: no clock, no Redis.

A core of Redis pays for its share of jobs, looks and waits, and for *each* worker and *each* pod, which ask it all the
time.  A core of an API pod pays for its share of requests and streams, and for *each* server, which it checks.  A pod
hears only of the jobs that somebody waits for in it.  Because of what is paid for each, neither part grows without
limit, and the model divides a fleet that is too large into cells: deployments of their own, with servers, pods and GPUs
of their own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

MAX_CELLS = 2000
SECONDS_OF_MONTH = 30 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Measured: CPU microseconds of one core, bytes, and requests.

    Attributes:
        redis_job_us: all that Redis does for a job, from its submission to its end.
        redis_worker_us: what one server does in a second for a worker that asks for work, renews and reclaims there.
        redis_pod_us: what one server does in a second for an API process that checks it and ends late jobs there.
        redis_look_us: what Redis does for `GET /jobs/{id}`.
        redis_result_us: what Redis does for `GET /jobs/{id}/result`.
        redis_wait_us: what Redis does for `GET /jobs/{id}?wait=`, with its subscription.
        api_job_us, api_look_us, api_result_us, api_wait_us: what an API process does for one such request.
        api_server_us: what an API process does in a second for each server.
        api_stream_us: what an API process does in a second for an event stream that is open.
        api_event_us: what an API process does for an event that it sends to a stream.
        events: of a job, sent to its event stream.
        redis_job_bytes: to and from Redis for a job.
        queued_bytes, ended_bytes: memory of Redis for a job that waits, and for one that has ended.
        stream_bytes: memory of an API process for an open event stream.
        store_puts, store_gets, store_deletes: requests to the object store for a job; a download of its result is
            another get.
    """

    redis_job_us: float
    redis_worker_us: float
    redis_look_us: float
    redis_result_us: float
    redis_wait_us: float
    redis_pod_us: float
    api_job_us: float
    api_look_us: float
    api_result_us: float
    api_wait_us: float
    api_server_us: float
    api_stream_us: float
    api_event_us: float
    events: float
    redis_job_bytes: float
    queued_bytes: float
    ended_bytes: float
    stream_bytes: float
    store_puts: float
    store_gets: float
    store_deletes: float


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is asked for, and what is assumed.

    Attributes:
        looks: requests `GET /jobs/{id}` for a job.
        waits: requests `GET /jobs/{id}?wait=` for a job.
        results: downloads of a result through the API.
        streams: event streams that are open at the same time.
        photo_mb, result_mb: megabytes of an input, and of a result.
        keep_s: how long the records and results of ended jobs stay.
        queued: jobs that wait in the worst hour, for the memory.
        busy: the share of a core that is planned to be used.
        redis_memory_gb: of one server, for its data.
        cells: how many deployments share the fleet; 0: as many as need the fewest servers and pods.
    """

    gpus: int
    photos_per_second: float
    looks: float = 2.0
    waits: float = 1.0
    results: float = 1.0
    streams: int = 0
    photo_mb: float = 3.0
    result_mb: float = 3.0
    keep_s: float = 3600.0
    queued: int = 1_000_000
    busy: float = 0.5
    redis_memory_gb: float = 32.0
    cells: int = 0


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Of one unit, in any currency: assumptions to replace, and no vendor's list."""

    gpu_hour: float = 2.0
    redis_hour: float = 0.5
    api_core_hour: float = 0.05
    put_1000: float = 0.005
    get_1000: float = 0.0004
    stored_gb_month: float = 0.02
    out_gb: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Of the whole fleet; `cells` deployments share it evenly.

    Attributes:
        redis_of_cell, pods_of_cell: servers, and API processes with a core each.
        redis_busy, pod_busy: the share of a core that each of them uses.
        redis_gb: data in all servers together.
    """

    cells: int
    redis_of_cell: int
    pods_of_cell: int
    redis_busy: float
    pod_busy: float
    redis_gb: float
    redis_mb_per_s: float
    in_mb_per_s: float
    out_mb_per_s: float
    store_mb_per_s: float
    stored_gb: float
    puts_per_s: float
    gets_per_s: float
    deletes_per_s: float

    @property
    def redis(self) -> int:
        return self.cells * self.redis_of_cell

    @property
    def pods(self) -> int:
        return self.cells * self.pods_of_cell


class PlanError(ValueError):
    """The demand cannot be planned; the message says why, and what to change."""


def check(demand: Demand, prices: Prices = Prices()) -> None:
    """Raises PlanError where a number makes no sense."""
    for numbers in (demand, prices):
        for entry in fields(numbers):
            value = getattr(numbers, entry.name)
            if not math.isfinite(value) or value < 0:
                raise PlanError(f"{entry.name}: got {value:g}, expected a number from 0")
    for name in ("gpus", "photos_per_second", "redis_memory_gb"):
        if getattr(demand, name) <= 0:
            raise PlanError(f"{name}: got {getattr(demand, name):g}, expected more than 0")
    if not 0 < demand.busy <= 1:
        raise PlanError(f"busy: got {demand.busy:g}, expected a share of a core, above 0 and up to 1")


def plan(rates: Rates, demand: Demand) -> Plan:
    """Returns the plan with the fewest servers and pods together; of such plans, that with the fewest cells.

    Raises:
        PlanError: a number makes no sense, or no number of cells suffices.
    """
    check(demand)
    numbers = [demand.cells] if demand.cells else range(1, min(MAX_CELLS, demand.gpus) + 1)
    plans = [found for cells in numbers if (found := _plan_with(rates, demand, cells))]
    if plans:
        return min(plans, key=lambda found: found.redis + found.pods)
    raise PlanError(
        f"{demand.photos_per_second:g} photos a second on {demand.gpus} GPUs do not fit into any number of cells: "
        "a core cannot do the work of a GPU's photos. Plan more GPUs, fewer photos, or a higher share than "
        f"{demand.busy:g}"
    )


def _plan_with(rates: Rates, demand: Demand, cells: int) -> Plan | None:
    """Returns the plan with so many cells; None where a part of a cell cannot do its work on any number of cores."""
    photos, workers, streams = demand.photos_per_second / cells, demand.gpus / cells, demand.streams / cells
    pod_us = photos * (
        rates.api_job_us + demand.looks * rates.api_look_us + demand.waits * rates.api_wait_us
        + demand.results * rates.api_result_us
    )  # fmt: skip
    share_streamed = min(1.0, streams / photos)
    pod_us += streams * rates.api_stream_us + photos * share_streamed * rates.events * rates.api_event_us
    server_us = photos * (
        rates.redis_job_us + demand.looks * rates.redis_look_us + demand.waits * rates.redis_wait_us
        + demand.results * rates.redis_result_us
    )  # fmt: skip
    redis_gb = (demand.photos_per_second * demand.keep_s * rates.ended_bytes + demand.queued * rates.queued_bytes) / 1e9
    servers = max(1, math.ceil(redis_gb / cells / demand.redis_memory_gb))
    while True:  # more servers need more pods, which need more servers: both only grow
        pods = _parts(pod_us, servers * rates.api_server_us, demand.busy)
        if pods is None:
            return None
        asking_us = workers * rates.redis_worker_us + pods * rates.redis_pod_us
        needed = _parts(server_us, asking_us, demand.busy)
        if needed is None:
            return None
        if needed <= servers:
            break
        servers = needed
    all_photos = demand.photos_per_second
    return Plan(
        cells=cells, redis_of_cell=servers, pods_of_cell=pods,
        redis_busy=(server_us / servers + asking_us) / 1e6,
        pod_busy=(pod_us / pods + servers * rates.api_server_us) / 1e6,
        redis_gb=redis_gb, redis_mb_per_s=all_photos * rates.redis_job_bytes / 1e6,
        in_mb_per_s=all_photos * demand.photo_mb, out_mb_per_s=all_photos * demand.results * demand.result_mb,
        store_mb_per_s=all_photos * (2 * demand.photo_mb + (1 + demand.results) * demand.result_mb),
        stored_gb=all_photos * demand.keep_s * demand.result_mb / 1e3 + demand.queued * demand.photo_mb / 1e3,
        puts_per_s=all_photos * rates.store_puts,
        gets_per_s=all_photos * (rates.store_gets + demand.results),
        deletes_per_s=all_photos * rates.store_deletes,
    )  # fmt: skip


def _parts(shared_us: float, own_us: float, busy: float) -> int | None:
    """Returns how many cores do `shared_us` a second together, where each also does `own_us` alone; None: none can."""
    left_us = 1e6 * busy - own_us
    return max(1, math.ceil(shared_us / left_us - 1e-9)) if left_us > 0 else None


def cost_per_hour(found: Plan, demand: Demand, prices: Prices) -> dict[str, float]:
    """Returns the cost of an hour by its part."""
    requests = 3.6 * ((found.puts_per_s * prices.put_1000) + found.gets_per_s * prices.get_1000)
    return {
        "GPUs": demand.gpus * prices.gpu_hour,
        "Redis servers": found.redis * prices.redis_hour,
        "API pods": found.pods * prices.api_core_hour,
        "object store, requests": requests,
        "object store, bytes kept": found.stored_gb * prices.stored_gb_month * 3600 / SECONDS_OF_MONTH,
        "results out": found.out_mb_per_s * 3600 / 1000 * prices.out_gb,
    }


def fit(jobs: Sequence[float], worker_seconds: Sequence[float], cpu_s: Sequence[float]) -> tuple[float, float, float]:
    """Fit CPU seconds = a x jobs + b x worker seconds by least squares.

    Returns:
        Microseconds of a job, microseconds of a worker for a second, and the share of the variation that the fit
        explains (R squared, 1: all).

    Raises:
        ValueError: fewer than three rows, or rows that do not tell the two apart.
    """
    matrix = np.column_stack([np.asarray(jobs, float), np.asarray(worker_seconds, float)])
    target = np.asarray(cpu_s, float)
    if len(target) < 3 or np.linalg.matrix_rank(matrix) < 2:
        raise ValueError("expected at least three rows, with different shares of jobs and worker seconds")
    (a, b), *_ = np.linalg.lstsq(matrix, target, rcond=None)
    left = target - matrix @ np.array([a, b])
    total = float(((target - target.mean()) ** 2).sum())
    return 1e6 * float(a), 1e6 * float(b), 1.0 - float((left**2).sum()) / total if total else 1.0


def read_rates(values: Mapping[str, float]) -> Rates:
    """Returns rates from a file's numbers.

    Raises:
        PlanError: one is missing, or is no number from 0.
    """
    names = [entry.name for entry in fields(Rates)]
    for name in names:
        value = values.get(name)
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise PlanError(f"measured rate {name}: got {value!r}, expected a number from 0: measure again")
    return Rates(**{name: float(values[name]) for name in names})
