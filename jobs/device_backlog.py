"""How many seconds of the device the jobs of a bundle still need: arithmetic on one snapshot of its queue.

Autoscalers divide it by the seconds in which the queue should be empty.  The length of the queue would be 0 while every
device is busy, and would count a large photo like a small one.
"""

from collections.abc import Sequence

from jobs.drain_rate import seconds_of_a_job
from jobs.forecast import LineSnapshot, remaining_s

ASSUMED_JOB_S = 10.0
"""A job before any job of its bundle has ended: an autoscaler must see the first job of a queue without workers."""
MIN_SHARE_LEFT, MAX_SHARE_LEFT = 0.1, 10.0
"""Of a running job, in usual jobs: an autoscaler must not see 0 while a device is busy, and a single job that has
hardly begun after a long time must not start a fleet."""


def work_of_a_job_s(ends: Sequence[bytes]) -> float | None:
    """Returns the mean device seconds of the jobs that ended lately; None where none says them.

    A step of four images counts a quarter for each, so the seconds of jobs that ran together add up to the device's.

    Args:
        ends: as jobs.drain_rate reads them.
    """
    numbers = [entry.split() for entry in ends]
    works = [int(entry[2]) for entry in numbers if len(entry) == 3 and entry[2].isdigit()]
    return sum(works) / 1000 / len(works) if works else None


def backlog_device_s(line: LineSnapshot) -> float:
    """Returns the device seconds that all queued, held and running jobs still need.

    A waiting job counts as the mean of those that ended lately, whatever its size; of a running job counts the share
    that the forecast says is left.  Queued jobs of paused lanes do not count: more workers would not help them.
    """
    queued = sum(jobs for lane, jobs in line.queued.items() if lane not in line.paused)
    work_s, usual_s = work_of_a_job_s(line.recent_ends), seconds_of_a_job(line.recent_ends)
    if work_s is None or usual_s is None:
        return ASSUMED_JOB_S * (queued + sum(entry.stands_for for entry in line.taken))
    waiting = queued + sum(entry.stands_for for entry in line.taken if entry.started_ms is None)
    left = sum(
        entry.stands_for * _share_left(max(0, line.now_ms - entry.started_ms) / 1000, entry.fraction, usual_s)
        for entry in line.taken
        if entry.started_ms is not None
    )
    return (waiting + left) * work_s


def _share_left(elapsed_s: float, fraction: float, usual_s: float) -> float:
    share = remaining_s(elapsed_s, fraction, usual_s) / usual_s if usual_s > 0 else 1.0
    return min(max(share, MIN_SHARE_LEFT), MAX_SHARE_LEFT)
