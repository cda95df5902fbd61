"""The plan of a fleet: its sums against cases computed by hand, its fit, and the program; and the filler of lines."""

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def capacity():
    import capacity_plan

    return capacity_plan


@pytest.fixture
def rates(capacity):
    """Round numbers: a job is 1 ms of Redis and 4 ms of an API process."""
    values = dict.fromkeys((entry.name for entry in fields(capacity.Rates)), 0.0)
    return capacity.Rates(**{
        **values, "redis_job_us": 1000, "api_job_us": 4000, "ended_bytes": 10_000, "queued_bytes": 5000,
        "redis_job_bytes": 20_000, "store_puts": 2, "store_gets": 1, "store_deletes": 2,
    })  # fmt: skip


def demand(capacity, **fields):
    return capacity.Demand(
        **{"gpus": 10, "photos_per_second": 1000, "looks": 0, "waits": 0, "keep_s": 100, "queued": 0, **fields}
    )


def test_cores_are_work_by_the_share_that_is_planned(capacity, rates):
    """1,000 photos/s x 1 ms are one core of Redis: two at half load; x 4 ms are four cores of pods: eight."""
    found = capacity.plan(rates, demand(capacity))
    assert (found.cells, found.redis, found.pods) == (1, 2, 8)
    assert (found.redis_busy, found.pod_busy) == (pytest.approx(0.5), pytest.approx(0.5))


def test_looks_waits_and_results_are_requests_too(capacity, rates):
    """Two looks of 1 ms each, and half a result of 4 ms: 4 + 2 + 2 ms, so sixteen pods; Redis 1 + 2 x 0.5 ms: four.

    With a wait of 2 ms, 0.5 ms of Redis: twenty pods, five servers.
    """
    rates = replace(rates, api_look_us=1000, api_result_us=4000, api_wait_us=2000, redis_look_us=500, redis_wait_us=500)
    found = capacity.plan(rates, demand(capacity, looks=2, results=0.5))
    assert (found.redis, found.pods) == (4, 16)
    found = capacity.plan(rates, demand(capacity, looks=2, waits=1, results=0.5))
    assert (found.redis, found.pods) == (5, 20)


def test_each_server_pays_for_all_workers_that_ask_it(capacity, rates):
    """1,000 workers take 0.3 of each core, which leaves 0.2 of the half: five servers for one core of jobs."""
    found = capacity.plan(replace(rates, redis_worker_us=300), demand(capacity, gpus=1000, cells=1))
    assert found.redis == 5 and found.redis_busy == pytest.approx(0.2 + 0.3)


def test_pods_do_not_pay_for_what_nobody_waits_for_in_them(capacity, rates):
    """Ten times the photos are ten times the pods, in one cell: 1,000/s are eight (above), 10,000/s are eighty."""
    found = capacity.plan(rates, demand(capacity, photos_per_second=10_000, cells=1))
    assert (found.pods, found.redis, found.pod_busy) == (80, 20, pytest.approx(0.5))


def test_servers_pay_for_each_pod_and_pods_for_each_server(capacity, rates):
    """One cell: 1 core of Redis, 4 of pods.  Each server costs a pod 0.05 of a core, each pod a server 0.02.

    With two servers, a pod has 0.4 left: ten pods, which take 0.2 of each server and leave 0.3: four servers.  Then a
    pod has 0.3 left: fourteen pods, which leave 0.22 of a server: five.  0.25 left: sixteen pods, 0.18: six servers.
    0.2 left: twenty pods, 0.1: ten servers.  Nothing is left of a pod then, so that one cell cannot do it.
    """
    rates = replace(rates, api_server_us=50_000, redis_pod_us=20_000)
    with pytest.raises(capacity.PlanError):
        capacity.plan(rates, demand(capacity, cells=1))
    found = capacity.plan(rates, demand(capacity, cells=2))
    # Half a core of Redis, two of pods: 1 server, 0.45 left: 5 pods, which leave 0.4: 2 servers; 0.4: 5 pods. Enough
    assert (found.pods_of_cell, found.redis_of_cell) == (5, 2)
    assert found.redis_busy == pytest.approx(0.5 / 2 + 5 * 0.02) and found.pod_busy == pytest.approx(2 / 5 + 2 * 0.05)


def test_each_server_of_a_cell_is_asked_by_all_of_its_workers_so_a_large_fleet_becomes_cells(capacity, rates):
    """1,000 workers take 0.6 of each core, above the half; in two cells 0.3, in four 0.15, which leaves 0.35."""
    rates = replace(rates, redis_worker_us=600)
    with pytest.raises(capacity.PlanError):
        capacity.plan(rates, demand(capacity, gpus=1000, cells=1))
    two, four = (capacity.plan(rates, demand(capacity, gpus=1000, cells=cells)) for cells in (2, 4))
    assert (two.redis_of_cell, four.redis_of_cell) == (3, 1), "0.5 / 0.2 and 0.25 / 0.35 of a core"
    assert capacity.plan(rates, demand(capacity, gpus=1000)).redis == 4


def test_streams_cost_time_and_the_events_of_their_jobs(capacity, rates):
    """500 streams x 2 ms are one core; half of 1,000 jobs/s have a stream, 5 events of 0.4 ms each: one more core."""
    rates = replace(rates, api_job_us=0, api_stream_us=2000, api_event_us=400, events=5)
    assert capacity.plan(rates, demand(capacity, streams=500)).pods == 4


def test_memory_decides_where_records_are_kept_for_long(capacity, rates):
    """1,000/s x 3,600 s x 10 kB are 36 GB, and 1,000,000 x 5 kB are 5 GB more: three servers of 16 GB."""
    found = capacity.plan(rates, demand(capacity, keep_s=3600, queued=10**6, redis_memory_gb=16))
    assert found.redis_gb == pytest.approx(41) and found.redis == 3


def test_bytes_and_requests_are_counted_by_the_photo(capacity, rates):
    found = capacity.plan(rates, demand(capacity, photo_mb=3, result_mb=2, results=0.5))
    assert (found.in_mb_per_s, found.out_mb_per_s, found.redis_mb_per_s) == (3000, 1000, 20)
    assert found.store_mb_per_s == 1000 * (2 * 3 + 2 + 1), "an input in and out, a result in, and half of them out"
    assert (found.puts_per_s, found.gets_per_s, found.deletes_per_s) == (2000, 1500, 2000)
    assert found.stored_gb == pytest.approx(1000 * 100 * 2 / 1000)


def test_a_cost_is_units_by_their_prices(capacity, rates):
    asked = demand(capacity)
    found = capacity.plan(rates, asked)
    prices = capacity.Prices(
        gpu_hour=2, redis_hour=3, api_core_hour=0.5, put_1000=0.01, get_1000=0.001, stored_gb_month=0.72, out_gb=0.1
    )
    assert capacity.cost_per_hour(found, asked, prices) == pytest.approx({
        "GPUs": 20, "Redis servers": 6, "API pods": 4, "object store, requests": 3.6 * (2000 * 0.01 + 2000 * 0.001),
        "object store, bytes kept": 300 * 0.001, "results out": 3000 * 3.6 * 0.1,
    })  # fmt: skip


def test_the_fit_finds_what_rows_were_made_of(capacity):
    jobs, workers = [0, 0, 100, 500], [10, 100, 40, 200]
    cpu_s = [0.002 * job + 0.0004 * worker for job, worker in zip(jobs, workers, strict=True)]
    assert capacity.fit(jobs, workers, cpu_s) == pytest.approx((2000, 400, 1))
    with pytest.raises(ValueError, match="different shares"):
        capacity.fit([1, 2, 3], [2, 4, 6], [1, 2, 3])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gpus": 0}, "gpus: got 0, expected more than 0"),
        ({"photos_per_second": float("nan")}, "photos_per_second: got nan"),
        ({"busy": 1.5}, "busy: got 1.5, expected a share"),
        ({"looks": -1}, "looks: got -1"),
        ({"gpus": 1, "photos_per_second": 10**6}, "do not fit into any number of cells"),
    ],
)
def test_a_demand_that_makes_no_sense_is_refused(capacity, rates, wrong, message):
    with pytest.raises(capacity.PlanError, match=message):
        capacity.plan(replace(rates, redis_worker_us=1e6), demand(capacity, **wrong))


def run_scale(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "scale.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_program_prints_a_plan_and_draws_it(capacity, rates, tmp_path):
    file, picture = tmp_path / "rates.json", tmp_path / "plan.svg"
    file.write_text(json.dumps({"rates": asdict(rates)}))
    words = ("--gpus", 10, "--photos-per-second", 1000, "--looks", 0, "--waits", 0, "--keep-s", 100, "--queued", 0)
    done = run_scale("--plan", "--rates", file, "--figure", picture, *words)
    assert done.returncode == 0, done.stderr
    assert "| Redis servers | 2 | 50 % of a core |" in done.stdout and "| API pods, a core each | 8 |" in done.stdout
    assert picture.read_text().count("<polyline") == 3


def test_the_program_says_what_is_wrong(capacity, rates, tmp_path):
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({"rates": {**asdict(rates), "api_job_us": -1}}))
    for words, message in [
        (("--rates", file), "measured rate api_job_us: got -1"),
        (("--rates", tmp_path / "none"), "is no file of rates"),
        (("--gpus", 0), "gpus: got 0, expected more than 0"),
        (("--gpus", "many"), "invalid int value"),
    ]:
        done = run_scale("--plan", *words)
        assert done.returncode == 2 and message in done.stderr, done.stderr
