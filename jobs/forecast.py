"""Where a job stands in line, and when it will have ended: arithmetic on one snapshot of its bundle's queue.

Three kinds of jobs are before it: those that run, those that workers hold (leased, decoded, not begun), and those that
are queued before it.  Running jobs have no place in line, but their remaining seconds count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.drain_rate import seconds_of_a_job, seconds_per_job
from jobs.record import Progress
from jobs.spec import LANES, Lane


@dataclass(frozen=True, kw_only=True)
class TakenJob:
    """A job that a worker has taken.

    Attributes:
        started_ms: None while it is held: its worker's engine has not begun with it.
        fraction: of all its possible passes, 0 to 1.
        stands_for: how many jobs it stands for, with itself: of many taken jobs, only some are read.  0: it is itself
            one of those that another stands for.
    """

    id: str
    lane: Lane
    enqueued_ms: int
    started_ms: int | None = None
    fraction: float = 0.0
    stands_for: float = 1.0


@dataclass(frozen=True, kw_only=True)
class LineSnapshot:
    """A bundle's jobs at one moment.

    Attributes:
        place: the number of jobs of its lane that workers take before this one; None where it is not queued.
        queued: jobs by lane.
        recent_ends: as jobs.drain_rate reads them.
        paused: lanes of which nobody takes jobs.
        oldest_ms: by lane, when its oldest queued job was enqueued.
        new_place: the number of queued jobs of its lane that workers take before a job that would come now; None where
            nobody has asked, which means behind all of them.
    """

    now_ms: int
    place: int | None
    queued: Mapping[Lane, int]
    taken: Sequence[TakenJob]
    recent_ends: Sequence[bytes]
    paused: frozenset[Lane] = frozenset()
    oldest_ms: Mapping[Lane, int] = field(default_factory=dict)
    new_place: int | None = None

    def with_new_job(self, lane: Lane) -> "LineSnapshot":
        """Returns the same moment as a job that comes to this lane now would find it."""
        return replace(self, place=self.queued[lane] if self.new_place is None else self.new_place)

    def oldest_s(self, lane: Lane) -> float | None:
        """Returns how long the oldest queued job of a lane has waited; None for an empty lane."""
        since_ms = self.oldest_ms.get(lane)
        return None if since_ms is None else max(0, self.now_ms - since_ms) / 1000


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """`position`: waiting jobs before this one.  `eta_s`: seconds until its end; None before any job has ended.

    `paused`: an operator has paused the job's lane, so that nobody knows its end.
    """

    position: int
    eta_s: float | None
    paused: bool = False


def read_line(answer: Sequence[Any]) -> LineSnapshot:
    """Reads the answer of scripts/line.lua."""
    now_ms, place, lengths, taken, recent_ends, paused, oldest, new_place = answer
    return LineSnapshot(
        now_ms=now_ms, place=place if place >= 0 else None, queued=dict(zip(LANES, lengths, strict=True)),
        taken=[_taken(*row) for row in taken], recent_ends=recent_ends,
        paused=frozenset(lane for lane in LANES if lane.encode() in paused),
        oldest_ms={lane: since for lane, since in zip(LANES, oldest, strict=True) if since >= 0},
        new_place=new_place,
    )  # fmt: skip


def _taken(
    job: bytes, lane: int, enqueued_ms: bytes, started_ms: bytes, progress: bytes, stands_for: bytes
) -> TakenJob:
    return TakenJob(
        id=job.decode(), lane=LANES[lane], enqueued_ms=int(enqueued_ms),
        started_ms=int(started_ms) if started_ms else None,
        fraction=Progress.model_validate_json(progress or b"{}").fraction, stands_for=float(stands_for),
    )  # fmt: skip


def forecast(job: str, lane: Lane, line: LineSnapshot) -> Forecast | None:
    """Returns the forecast for a job that is queued or held; None for one that runs or has ended."""
    held = sorted((entry for entry in line.taken if entry.started_ms is None), key=_turn)
    holds = [entry.id for entry in held]
    if job in holds:
        position = round(sum(entry.stands_for for entry in held[: holds.index(job)]))
    elif line.place is not None:
        before = [other for other in LANES[: LANES.index(lane)] if other not in line.paused]
        position = (
            round(sum(entry.stands_for for entry in held)) + sum(line.queued[other] for other in before) + line.place
        )
        if lane in line.paused:
            return Forecast(position=position, eta_s=None, paused=True)
    else:
        return None
    per_job_s, usual_s = seconds_per_job(line.recent_ends), seconds_of_a_job(line.recent_ends)
    if per_job_s is None or usual_s is None:
        return Forecast(position=position, eta_s=None)
    at_once = max(1.0, usual_s / per_job_s)  # jobs that run at the same time
    running_s = sum(
        entry.stands_for * remaining_s(max(0, line.now_ms - entry.started_ms) / 1000, entry.fraction, usual_s)
        for entry in line.taken
        if entry.started_ms is not None
    )
    return Forecast(position=position, eta_s=round((position + 1) * per_job_s + running_s / at_once, 1))


def _turn(entry: TakenJob) -> tuple[int, int, str]:
    """Smaller begins first, as in the engine."""
    return LANES.index(entry.lane), entry.enqueued_ms, entry.id


def remaining_s(elapsed_s: float, fraction: float, usual_s: float) -> float:
    """Returns the estimated seconds that a running job still needs.

    A job that is younger than usual needs the rest of the usual seconds, or less where its progress says so: `fraction`
    counts all possible passes, of which most jobs need few.  For a job that already runs longer than usual, it is the
    only measure.

    Args:
        elapsed_s: since its begin.
        fraction: of all its possible passes, 0 to 1; 0 where no step is reported.
        usual_s: the mean seconds from begin to end.
    """
    usually_left_s = max(0.0, usual_s - elapsed_s)
    if fraction <= 0:
        return usually_left_s
    at_its_pace_s = elapsed_s * (1 - min(1.0, fraction)) / fraction
    return min(at_its_pace_s, usually_left_s) if usually_left_s > 0 else at_its_pace_s
