"""One image of the DA-CLIP family and its tiles, on their way through the pass.

Shapes:  H W pixels, E embedding, T steps.  Images are RGB float32 (3, H, W) in [-1, 1], in host memory; states are on
the device, in [0, 1].
"""

from dataclasses import dataclass

from torch import Tensor

from models.daclip.conditional_unet import Constants
from models.daclip.irsde import IRSDE
from models.noise import NoiseStream
from models.restorer import Controls
from models.tiles import Canvas, Tile


@dataclass(eq=False)
class Job:
    """One image's way through its pass."""

    controls: Controls
    image: Tensor  # (3, H, W)
    seen: dict[str, float]
    label: str = ""
    source: str = "auto"
    probability: float = 0.0
    constants: Constants | None = None
    embeddings: Tensor | None = None  # (T, E): time and prompt of every step, in the order of the steps
    canvas: Canvas | None = None
    tiles_left: int = 0
    started_s: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(eq=False)
class DaCLIPTrack:
    """A tile of a job.  Its state exists from its first step to its end, so waiting tiles cost nothing."""

    job: Job
    cut: Tile
    sde: IRSDE | None  # None for a network of one step
    padded: tuple[int, int]
    stream: NoiseStream
    step: int = 0
    mu: Tensor | None = None  # (3, H, W)
    x: Tensor | None = None  # (3, H, W)

    pass_index: int = 0
    passes: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return self.padded

    @property
    def steps(self) -> int:
        return self.sde.T if self.sde else 1

    @property
    def tile(self) -> tuple[int, int]:
        return self.cut.index, self.cut.count

    def mark(self) -> tuple[Tensor | None, Tensor]:
        """Where it stands, for `rewind`."""
        return self.x, self.stream.mark()

    def rewind(self, mark: tuple[Tensor | None, Tensor]) -> None:
        self.x = mark[0]
        self.stream.rewind(mark[1])
