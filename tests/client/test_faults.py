"""The client behind a network that loses, cuts and stalls: one job, and the right result or an honest error."""

import io
import time

import pytest
from faulty_proxy import FAULTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from undegrade_client import (
    ApiError,
    ConnectionFailed,
    QuotaError,
    ServerUnavailable,
    UndegradeError,
    UnexpectedAnswer,
)

SILENCE_S = 0.4
"""So long the client waits for an answer to an upload here, and a quarter of it beyond a wait."""


def jobs(service):
    return service.client.get("/jobs", params={"limit": 200}).json()["jobs"]


def is_red(result):
    with Image.open(io.BytesIO(result.data)) as image:
        return image.convert("RGB").getcolors() == [(24 * 16, (255, 0, 0))]


QUICK = ("lost", "cut")
BY_COST = [fault if fault in QUICK else pytest.param(fault, marks=pytest.mark.slow) for fault in FAULTS]


@pytest.mark.parametrize("fault", BY_COST)
@pytest.mark.parametrize("request_number", [0, 1, 2])
def test_one_fault_at_any_request_is_survived(
    connect_blocking, service, faulty, worker, picture, clock, fault, request_number
):  # fmt: skip
    """Three requests make a result: the upload, the wait, the image."""
    faulty.hurt(["ok"] * request_number + [fault])
    patience = {"silence_s": SILENCE_S, "wait_s": 2} if fault == "stall" else {}
    client = connect_blocking(faulty.url, clock=clock, **patience)
    assert is_red(client.restore(picture(), seed=3))
    assert len(jobs(service)) == 1
    waited = {"503": 7, "429": 3}.get(fault, 0)
    assert sum(clock.slept) >= waited and (fault == "stall" or len(clock.slept) <= 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("ok", "html")])
def test_a_fault_that_does_not_end_is_an_honest_error_at_the_deadline(connect, service, faulty, picture, clock, fault):
    faulty.hurt([fault] * 100)
    client = connect(faulty.url, timeout_s=60, clock=clock, silence_s=0.2)
    with pytest.raises((ConnectionFailed, ServerUnavailable, QuotaError, UnexpectedAnswer)) as failed:
        client.restore(picture())
    assert len(clock.slept) > 1 and sum(clock.slept) <= 60
    assert faulty.url in str(failed.value) or isinstance(failed.value, ApiError)
    assert len(jobs(service)) <= 1


def test_pauses_grow_are_bounded_and_differ(connect_blocking, faulty, clock):
    client = connect_blocking(faulty.url, timeout_s=300, clock=clock)
    faulty.hurt(["502"] * 100)
    with pytest.raises(ServerUnavailable):
        client.limits()
    pauses = clock.slept[:-1]  # the last one ends at the deadline
    for number, pause in enumerate(pauses):
        ceiling = min(20.0, 0.5 * 2**number)
        assert ceiling / 2 <= pause <= ceiling
    assert len(set(pauses)) == len(pauses)


def test_a_retry_after_beyond_the_deadline_is_an_error_at_once(connect, faulty, picture, clock):
    faulty.hurt(["503"] * 9)
    with pytest.raises(ServerUnavailable, match="queue-full") as refused:
        connect(faulty.url, timeout_s=5, clock=clock).restore(picture())
    assert (refused.value.retry_after_s, clock.slept) == (7, [])


@pytest.mark.parametrize("fault", ["cut", "reset", "lost", "503", "502"])
def test_events_continue_after_the_last_one_that_arrived(connect, service, faulty, worker, picture, clock, fault):
    client = connect(faulty.url, clock=clock)
    job = client.submit(picture())
    until_s = time.monotonic() + 20
    while job.refresh().status != "succeeded":
        assert time.monotonic() < until_s
    whole = list(job.events())
    faulty.hurt([fault, fault])
    assert list(job.events()) == whole and len(whole) >= 5
    assert len([line for line in faulty.seen if "/events" in line]) >= 3


def test_long_polls_that_are_used_up_become_polls(connect, serve, worker, picture, clock):
    client = connect(serve(max_waits=0).url, clock=clock)
    assert is_red(client.restore(picture()))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(st.sampled_from(FAULTS), max_size=10), timeout_s=st.sampled_from([5.0, 20.0, 600.0]))
def test_whatever_fails_there_is_one_job_and_the_right_result_or_an_honest_error(
    connect, service, faulty, worker, picture, clock, faults, timeout_s
):
    before = {job["id"] for job in jobs(service)}
    slept_s = sum(clock.slept)
    faulty.hurt(faults)
    client = connect(faulty.url, timeout_s=timeout_s, clock=clock, silence_s=0.2, wait_s=2)
    try:
        result = client.restore(picture())
    except UndegradeError as error:
        assert sum(clock.slept) - slept_s <= timeout_s
        assert not isinstance(error, ApiError) or error.code in ("queue-full", "rate-limited", "http-502")
        assert len({job["id"] for job in jobs(service)} - before) <= 1
    else:
        assert is_red(result)
        assert {job["id"] for job in jobs(service)} - before == {result.job_id}
