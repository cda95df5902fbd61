"""What supervisor and engine child say to each other, over a pipe; plain numbers and uint8 or uint16 pixels.

Pixels are RGB (H, W, 3).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One image for the engine.  `lane` 0 goes first; `since_s` is its arrival, by any one clock.

    `bundle` is one of those that the engine has loaded.
    """

    id: str
    pixels: Pixels
    bundle: str = ""
    controls: dict[str, Any] = field(default_factory=dict)  # of models.restorer.Controls
    lane: int = 0
    since_s: float = 0.0
    detect_only: bool = False
    pictures: bool = True  # send the picture of each pass but the last


@dataclass(frozen=True)
class Cancel:
    """Drop this task between two steps, if it is still there."""

    id: str


@dataclass(frozen=True)
class Stop:
    """End the child."""


Command = Task | Cancel | Stop


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A bundle that the child has; its golden image came out as it must."""

    name: str
    family: str
    version: str
    license: str
    degradations: tuple[dict[str, Any], ...]
    together: int
    budget_mp: float
    load_s: float


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The child has all of its models."""

    device: str
    why: str
    bundles: tuple[Loaded, ...]

    @property
    def together(self) -> int:
        """The most images of one step."""
        return max(loaded.together for loaded in self.bundles)


@dataclass(frozen=True)
class NotReady:
    """The child cannot work; it ends after saying so.  `of_device` tells a broken device from a broken bundle."""

    sentence: str
    of_device: bool


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """A task is so far."""

    id: str
    pass_index: int
    passes: int
    step: int
    steps: int
    fraction: float


@dataclass(frozen=True, kw_only=True)
class Passed:
    """A task has begun, or ended a pass and goes on; `report` is models.restorer.Report as a dict."""

    id: str
    report: dict[str, Any]
    pixels: Pixels | None = None


@dataclass(frozen=True, kw_only=True)
class Done:
    """A task has ended.  `pixels` None: it was only to be assessed."""

    id: str
    report: dict[str, Any]
    pixels: Pixels | None = None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A task failed, alone."""

    id: str
    code: str
    detail: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Turned:
    """One turn of the loop, for the metrics; all of its images were one bundle's."""

    bundle: str
    images: int
    megapixels: float
    seconds: float
    splits: int = 0
    memory_bytes: int = 0  # of the GPU, held by this process; 0 on a CPU


Answer = Ready | NotReady | Stepped | Passed | Done | Failed | Turned
