"""Device seconds of a queue, for autoscalers, by hand-computed queues and by what an autoscaler relies on."""

from hypothesis import given
from hypothesis import strategies as st

from jobs.device_backlog import ASSUMED_JOB_S, backlog_device_s, work_of_a_job_s
from jobs.forecast import LineSnapshot, TakenJob

NOW_MS = 10_000_000
ENDS = (b"9000 1000 2000", b"9000 5000 4000")  # 8 s and 4 s from begin to end, 2 s and 4 s of the device


def line(queued=0, taken=(), ends=ENDS):
    lanes = {"interactive": 0, "standard": queued, "bulk": 0}
    return LineSnapshot(now_ms=NOW_MS, place=None, queued=lanes, taken=list(taken), recent_ends=list(ends))


def running(elapsed_s, fraction):
    return TakenJob(
        id="a" * 32, lane="standard", enqueued_ms=0, started_ms=NOW_MS - int(elapsed_s * 1000), fraction=fraction
    )


def test_a_waiting_job_counts_as_the_mean_of_the_jobs_that_ended():
    assert work_of_a_job_s(ENDS) == 3.0
    assert backlog_device_s(line(queued=5)) == 15.0


def test_a_job_that_a_worker_holds_counts_as_one_that_waits():
    held = TakenJob(id="b" * 32, lane="bulk", enqueued_ms=0)
    assert backlog_device_s(line(queued=1, taken=[held])) == 6.0


def test_of_a_running_job_the_share_that_is_left_counts():
    assert backlog_device_s(line(taken=[running(3.0, 0.5)])) == 1.5  # usual are 6 s, 3 s are left: half of 3 s of work


def test_the_first_jobs_of_a_queue_without_workers_are_seen():
    assert backlog_device_s(line(queued=2, ends=())) == 2 * ASSUMED_JOB_S
    assert backlog_device_s(line(queued=2, ends=[b"9000 1.5", b"9000 1000"])) == 2 * ASSUMED_JOB_S, "earlier versions"


def test_an_empty_queue_needs_nothing():
    assert backlog_device_s(line()) == backlog_device_s(line(ends=())) == 0.0


@given(st.floats(0, 1e5), st.floats(0, 1), st.integers(0, 50))
def test_it_is_never_zero_while_a_job_runs_and_grows_with_each_waiting_job(elapsed_s, fraction, queued):
    one = backlog_device_s(line(queued, [running(elapsed_s, fraction)]))
    assert one > 0
    assert backlog_device_s(line(queued + 1, [running(elapsed_s, fraction)])) > one
