"""The messages between the supervisor and the engine child.  They travel pickled over a pipe.

Pixels are RGB (H, W, 3), uint8 or uint16.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jobs.record import Degradation, Outcome
from jobs.spec import JobControls

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Task:
    """An image for the engine.

    Attributes:
        bundle: one of those that the engine has loaded.
        lane: 0 goes first.
        since_s: when the job arrived; all tasks use one clock.
        send_passes: send the picture after each pass but the last.
        whole: the image that `pixels` is a part of; it is assessed in its place.
        small: the image before it was enlarged to `pixels`.
        compressed: its file has visibly lost details to compression.
    """

    id: str
    pixels: Pixels
    bundle: str = ""
    controls: JobControls = field(default_factory=JobControls)
    lane: int = 0
    since_s: float = 0.0
    detect_only: bool = False
    send_passes: bool = True
    whole: Pixels | None = None
    small: Pixels | None = None
    compressed: bool = False


@dataclass(frozen=True)
class Cancel:
    """Drop this task between two steps, if the engine still has it."""

    id: str


@dataclass(frozen=True)
class Ping:
    """Answer with Pong between two turns: a child that has nothing to do must not look like one that hangs."""


@dataclass(frozen=True)
class Stop:
    """End the child."""


Command = Task | Cancel | Ping | Stop


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A bundle that the child has loaded, and that has passed its golden image.  `sha256` is of its manifest."""

    name: str
    family: str
    version: str
    license: str
    degradations: tuple[Degradation, ...]
    max_batch: int
    budget_mp: float
    load_s: float
    sha256: str = ""
    credit: str = ""
    prompts: str = "free"


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The child has loaded all of its bundles.  `why` says why it chose the device.

    `device_name` and `driver` are of a CUDA device; `device_bytes` is its memory, or what the process may use on a CPU.
    """

    device: str
    why: str
    bundles: tuple[Loaded, ...]
    device_name: str = ""
    driver: str = ""
    device_bytes: int | None = None

    @property
    def max_batch(self) -> int:
        """The most images of one step."""
        return max(loaded.max_batch for loaded in self.bundles)


@dataclass(frozen=True)
class NotReady:
    """The child cannot work, and ends.  `of_device` tells a broken device from a broken bundle."""

    sentence: str
    of_device: bool


@dataclass(frozen=True)
class Pong:
    """The answer to a Ping."""


@dataclass(frozen=True)
class Begun:
    """The child now works on this task, which has waited for its turn until now."""

    id: str


@dataclass(frozen=True, kw_only=True)
class StepProgress:
    """A task has taken a step."""

    id: str
    pass_index: int
    passes: int
    step: int
    steps: int
    fraction: float


@dataclass(frozen=True, kw_only=True)
class PassProgress:
    """A task has begun, or has ended a pass and goes on.  `outcome` is what is known so far."""

    id: str
    outcome: Outcome
    pixels: Pixels | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the engine did for a task: "assess", "steps" or "finish" of one pass, from its first call to its last.

    Attributes:
        start_s, end_s: seconds since 1970, by the clock that all processes of a machine share.
        work_s: seconds of the calls alone, each in full also where it served several tasks.
    """

    name: str
    pass_index: int
    start_s: float
    end_s: float
    work_s: float


@dataclass(frozen=True, kw_only=True)
class Done:
    """A task has ended.

    Attributes:
        pixels: None where it only assessed the image.
        work_s: the task's share of the engine's seconds: a step of four images counts a quarter for each.
    """

    id: str
    outcome: Outcome
    pixels: Pixels | None = None
    work_s: float = 0.0
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A task has failed; the others go on."""

    id: str
    code: str
    detail: str
    hint: str = ""
    work_s: float = 0.0
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BatchStepped:
    """One turn of the engine, for metrics and traces; all of its images belong to one bundle.

    Attributes:
        seconds: of the turn, with what began and finished in it.
        end_s: seconds since 1970 at its end.
        tasks: the tasks whose images shared the step, sorted.
        one_left: one of them has ended, so that the next turn has others.
        memory_bytes, memory_limit_bytes: what the engine holds of its device's memory, and could hold.
        fixed_s, s_per_mp: what a step of the bundle costs, learned so far; 0 while nothing is known.
    """

    bundle: str
    images: int
    megapixels: float
    seconds: float
    splits: int = 0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    fixed_s: float = 0.0
    s_per_mp: float = 0.0
    end_s: float = 0.0
    tasks: tuple[str, ...] = ()
    one_left: bool = False


Answer = Ready | NotReady | Pong | Begun | StepProgress | PassProgress | Done | Failed | BatchStepped
