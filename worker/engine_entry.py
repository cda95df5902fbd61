"""What the engine keeps: a bundle that is resident (`Resident`), and an image on its way (`Entry`)."""

from dataclasses import dataclass, field

from models.restorer import Request, Restorer, Track
from worker.messages import Task
from worker.picking import BatchLimits, Candidate

NEWEST_STEP_WEIGHT = 0.1
"""The weight of the newest step's speed in the running mean."""


@dataclass(eq=False)
class Resident:
    """A bundle on the device.

    Attributes:
        max_batch: how many images fitted into a batch lately; it grows back by one with each batch.
        step_s_per_mp: running mean of a step's seconds for each megapixel; tells long work from short.
    """

    restorer: Restorer
    limits: BatchLimits
    max_batch: int = field(init=False)
    step_s_per_mp: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.max_batch = self.limits.max_batch

    def record_speed(self, s_per_mp: float) -> None:
        self.step_s_per_mp += NEWEST_STEP_WEIGHT * (s_per_mp - self.step_s_per_mp)


@dataclass(eq=False)
class Entry:
    """An image in the engine.

    Attributes:
        tracks: the tracks of this pass that are not finished.
        tiles: how many tracks this pass has in all.
        work_s: the seconds that the engine has worked for this image.
    """

    task: Task
    request: Request
    resident: Resident
    tracks: list[Track] = field(default_factory=list)
    tiles: int = 1
    begun: bool = False
    work_s: float = 0.0

    @property
    def turn(self) -> tuple[int, float]:
        """Smaller begins first."""
        return self.task.lane, self.task.since_s

    @property
    def fraction(self) -> float:
        """How far this pass is, 0 to 1: its finished tiles, and the steps of the others."""
        under_way = sum(track.step / track.steps for track in self.tracks)
        return (self.tiles - len(self.tracks) + under_way) / self.tiles

    @property
    def left_s(self) -> float:
        """Estimated device seconds that this pass still needs."""
        megapixel_steps = sum((track.steps - track.step) * megapixels(track) for track in self.tracks)
        return self.resident.step_s_per_mp * megapixel_steps

    def candidate(self, track: Track) -> Candidate:
        task = self.task
        return Candidate(lane=task.lane, since_s=task.since_s, shape=track.shape, left_s=self.left_s)


def megapixels(track: Track) -> float:
    return track.shape[-2] * track.shape[-1] / 1e6
