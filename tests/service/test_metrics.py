"""Metrics: bounded labels, correct numbers, and no effect on requests when Redis is away."""

import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture
def watched(serve):
    """A service with metrics."""
    return serve(metrics_port=0)


def scrape(service):
    answer = httpx.get(f"http://127.0.0.1:{service.app.state.metrics_port}/metrics")
    families = text_string_to_metric_families(answer.text)
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
