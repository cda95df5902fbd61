"""How fast a bundle's jobs end while there is work.  Idle time does not count: an idle night makes no job slower."""

from collections.abc import Sequence

LONGEST_RUN_MS = 7 * 24 * 3600 * 1000


def seconds_per_job(ends: Sequence[bytes]) -> float | None:
    """Returns the time in which at least one of these jobs ran, divided by their number; None without jobs.

    Jobs that run at the same time share their seconds, so the rate is that of all workers together.

    Args:
        ends: 'ended_ms started_ms work_ms' of each job, in any order; entries of another form are ignored.  The work,
            which may be left out, counts where a job was so short that its start was not reported.
    """
    spans = sorted(span for span in map(_span, ends) if span)
    if not spans:
        return None
    busy_ms, covered_to = 0, spans[0][0]
    for start, end in spans:
        busy_ms += max(0, end - max(start, covered_to))
        covered_to = max(covered_to, end)
    return max(busy_ms / 1000 / len(spans), 1e-4)


def seconds_of_a_job(ends: Sequence[bytes]) -> float | None:
    """Returns the mean seconds of these jobs from begin to end, whatever ran beside them; None without jobs."""
    spans = [span for span in map(_span, ends) if span]
    return sum(end - start for start, end in spans) / 1000 / len(spans) if spans else None


def _span(entry: bytes) -> tuple[int, int] | None:
    """Returns (started_ms, ended_ms); None for an entry of an earlier version ('ended_ms megapixels')."""
    numbers = entry.split()
    if len(numbers) not in (2, 3) or not all(number.isdigit() for number in numbers):
        return None
    end, start, *work = map(int, numbers)
    start = min(start, end - sum(work))
    return (start, end) if 0 <= end - start <= LONGEST_RUN_MS else None
