"""Metrics: bounded labels, correct numbers, and no effect on requests when Redis is away."""

import os
import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobs.metric_table import of_process


@pytest.fixture
def watched(serve):
    """A service with metrics."""
    return serve(metrics_port=0)


def exposed(service):
    return httpx.get(f"http://127.0.0.1:{service.app.state.metrics_port}/metrics").text


def scrape(service):
    families = text_string_to_metric_families(exposed(service))
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def test_requests_are_counted_by_path_template_and_never_by_id(watched, picture):
    for _ in range(3):
        job = watched.client.post("/restore", files={"image": picture()}).json()
        watched.client.get(f"/jobs/{job['id']}")
    watched.client.get("/nowhere/at/all")
    metrics = scrape(watched)
    assert metrics["undegrade_requests_total", ("code", "202"), ("route", "POST /restore")] == 3
    assert metrics["undegrade_requests_total", ("code", "200"), ("route", "GET /jobs/{job_id}")] == 3
    assert metrics["undegrade_requests_total", ("code", "404"), ("route", "unmatched")] == 1
    assert metrics["undegrade_request_seconds_count", ("route", "POST /restore")] == 3
    assert not any(re.search(r"[0-9a-f]{32}", str(key)) for key in metrics)


def test_the_queue_is_reported(watched, picture, valkey, toy):
    watched.client.post("/restore", files={"image": picture()}, data={"lane": "bulk"})
    metrics = scrape(watched)
    assert metrics["undegrade_jobs_queued", ("bundle", "toy"), ("lane", "bulk")] == 1
    assert metrics["undegrade_oldest_job_age_seconds", ("bundle", "toy"), ("lane", "bulk")] >= 0
    assert metrics["undegrade_jobs_in_flight", ("bundle", "toy")] == 0
    assert metrics[("undegrade_redis_up",)] == 1 and metrics["undegrade_workers_ready", ("bundle", "toy")] == 0
    toy()
    watched.client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=20"})
    valkey.do(lambda redis: redis.hset("undegrade:counters", mapping={"lease_expired": 2, "refused:callback": 1}))
    valkey.do(lambda redis: redis.hset("undegrade:counters", mapping={"odd name:a:b:c": 2, "ended:toy": 4}))
    metrics = scrape(watched)
    assert metrics["undegrade_jobs_ended_total", ("bundle", "toy"), ("outcome", "succeeded")] >= 1
    assert metrics[("undegrade_leases_expired_total",)] == 2
    assert metrics["undegrade_jobs_refused_total", ("reason", "callback")] == 1
    assert not any("odd" in str(key) for key in metrics)


def test_the_api_exports_the_metrics_of_the_table_and_no_other(watched, picture):
    watched.client.post("/restore", files={"image": picture()})
    families = {family.name: family for family in text_string_to_metric_families(exposed(watched))}
    table = {spec.family: spec for spec in of_process("api")}
    assert families.keys() == table.keys()
    for name, family in families.items():
        assert (family.type, family.documentation) == (table[name].kind, table[name].help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(table[name].labels)


def test_the_number_of_series_is_bounded(watched, picture, valkey):
    for number in range(30):
        watched.client.post("/restore", files={"image": picture()}, data={"seed": number})
        watched.client.get(f"/jobs/{number:032x}")
        watched.client.get(f"/unknown/{number}")
    before = len(scrape(watched))
    counters = {f"failed:toy:code-{number}": 1 for number in range(50)}
    valkey.do(lambda redis: redis.hset("undegrade:counters", mapping=counters))
    metrics = scrape(watched)
    assert metrics["undegrade_jobs_failed_total", ("bundle", "toy"), ("code", "other")] == 50
    assert len(metrics) == before < 1000


def test_backlog_and_store_are_reported(watched, picture):
    assert scrape(watched)[("undegrade_backlog_device_seconds",)] == 0
    data = picture(size=(300, 200))
    watched.client.post("/restore", files={"image": data})
    metrics = scrape(watched)
    assert metrics[("undegrade_backlog_device_seconds",)] == 10.0, "before a job has ended, each counts 10 s"
    assert metrics["undegrade_bundle_backlog_device_seconds", ("bundle", "toy")] == 10.0
    assert metrics[("undegrade_store_used_bytes",)] == len(data)
    limit = metrics[("undegrade_store_limit_bytes",)]
    assert metrics[("undegrade_store_free_bytes",)] == limit - len(data)
    assert abs(metrics[("undegrade_api_clock_skew_seconds",)]) < 5, "one machine has one clock"
    assert metrics[("undegrade_redis_memory_used_bytes",)] > len(data)


def test_what_is_full_first_decides_how_much_fits(serve, small_valkey, tmp_path):
    of_memory = serve(metrics_port=0, redis_url=small_valkey.url)
    memory = scrape(of_memory)
    room = 0.8 * memory[("undegrade_redis_memory_limit_bytes",)] - memory[("undegrade_redis_memory_used_bytes",)]
    assert memory[("undegrade_store_free_bytes",)] == pytest.approx(room, abs=2e5)
    of_disk = serve(metrics_port=0, store_url=f"file://{tmp_path}/store", max_stored_bytes=10**18)
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    reserve = min(0.05 * disk.f_blocks * disk.f_frsize, 10**9)
    metrics = scrape(of_disk)
    assert metrics[("undegrade_store_free_bytes",)] == pytest.approx(free - reserve, rel=0.05)
    size = (disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize  # as df has it
    assert metrics[("undegrade_store_free_ratio",)] == pytest.approx((free - reserve) / (size - reserve), rel=0.05)


def test_every_bundle_of_a_worker_is_reported(watched, toy):
    other = toy().info().model_copy(update={"bundle": "other", "name": "b"})
    watched.queued()(lambda queue: queue.workers.announce(other))
    metrics = scrape(watched)
    assert metrics["undegrade_workers_ready", ("bundle", "other")] == 1
    assert metrics["undegrade_jobs_queued", ("bundle", "other"), ("lane", "bulk")] == 0


def test_a_scrape_without_redis_reports_that_redis_is_down(serve, mortal_valkey):
    service = serve(metrics_port=0, redis_url=mortal_valkey.url)
    mortal_valkey.kill()
    assert scrape(service)[("undegrade_redis_up",)] == 0


def test_the_port_of_the_api_serves_no_metrics(watched):
    assert watched.client.get("/metrics").status_code == 404
