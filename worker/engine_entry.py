"""What the engine keeps: a bundle that is resident (`Resident`), and an image on its way (`Entry`)."""

from dataclasses import dataclass, field

from models.restorer import Request, Restorer, Track
from worker.engine_speed import StepSpeed
from worker.engine_stages import StageLog
from worker.messages import Task
from worker.picking import BatchLimits, Candidate


@dataclass(eq=False)
class Resident:
    """A bundle on the device.

    Attributes:
        credit: whom to name beside its results.
        max_batch: how many images fitted into a batch lately; it grows back by one with each batch.
        speed: what its steps cost; tells long work from short.
    """

    restorer: Restorer
    limits: BatchLimits
    credit: str = ""
    max_batch: int = field(init=False)
    speed: StepSpeed = field(init=False, default_factory=StepSpeed)

    def __post_init__(self) -> None:
        self.max_batch = self.limits.max_batch


@dataclass(eq=False)
class Entry:
    """An image in the engine.

    Attributes:
        tracks: the tracks of this pass that are not finished.
        tiles: how many tracks this pass has in all.
        pass_index: the pass that it is in.
        work_s: the seconds that the engine has worked for this image.
        stages: what it did, and when.
    """

    task: Task
    request: Request
    resident: Resident
    tracks: list[Track] = field(default_factory=list)
    tiles: int = 1
    begun: bool = False
    pass_index: int = 0
    work_s: float = 0.0
    stages: StageLog = field(default_factory=StageLog)

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
        """Estimated device seconds that this pass still needs; its tiles share steps with each other."""
        speed = self.resident.speed
        left = [track.steps - track.step for track in self.tracks]
        shared_steps = max(left, default=0) * -(-len(left) // self.resident.max_batch)
        megapixel_steps = sum(steps * megapixels(track) for steps, track in zip(left, self.tracks, strict=True))
        return speed.fixed_s * shared_steps + speed.s_per_mp * megapixel_steps

    def candidates(self) -> list[tuple[Track, Candidate]]:
        """Returns the tracks that may take a step."""
        task, left_s = self.task, self.left_s
        return [
            (track, Candidate(lane=task.lane, since_s=task.since_s, shape=track.shape, left_s=left_s))
            for track in self.tracks
            if track.step < track.steps
        ]


def megapixels(track: Track) -> float:
    return track.shape[-2] * track.shape[-1] / 1e6
