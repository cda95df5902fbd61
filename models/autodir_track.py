"""What AutoDIR keeps of an image between steps and passes.

Shapes:  C latent channels, h w latent pixels, H W pixels, L D text tokens and width.  Images are RGB float32 (3, H, W)
in [-1, 1], in host memory.
"""

from dataclasses import dataclass, field

from torch import Tensor

from models.denoiser import Memory
from models.images import Canvas, Tile
from models.noise import NoiseStream
from models.restorer import Controls, PassReport
from models.samplers import Plan
from models.vocabulary import CLEAN


@dataclass(eq=False)
class Job:
    """One image's way through the passes."""

    controls: Controls
    original: Tensor  # (3, H, W)
    image: Tensor  # (3, H, W): what this pass starts from
    result: Tensor  # (3, H, W): what the user would get now
    remaining: tuple[str, ...]
    before: dict[str, float]  # the assessment of `image`
    first: dict[str, float] = field(default_factory=dict)
    condition: Tensor | None = None  # (L, D)
    label: str = CLEAN
    source: str = "auto"
    passes: list[PassReport] = field(default_factory=list)
    restored: Canvas | None = None
    diffused: Canvas | None = None  # only where the next pass starts from it
    tiles_left: int = 0
    started_s: float = 0.0
    tile_px: int | None = None


@dataclass(eq=False)
class AutoDIRTrack:
    """A tile of a job in one pass.  Latents exist from its first step to its last, so waiting tiles cost nothing."""

    job: Job
    cut: Tile
    plan: Plan
    padded: tuple[int, int]
    pass_index: int
    passes: int
    stream: NoiseStream
    step: int = 0
    z: Tensor | None = None  # (C, h, w), in the sampler's own space
    z_image: Tensor | None = None  # (C, h, w)
    earlier: Tensor | None = None  # (C, h, w): the previous denoised estimate
    memory: Memory = field(default_factory=Memory)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.padded

    @property
    def steps(self) -> int:
        return len(self.plan)

    @property
    def tile(self) -> tuple[int, int]:
        return self.cut.index, self.cut.count

    def mark(self) -> tuple[Tensor | None, Tensor]:
        """Where it stands, for `rewind`."""
        return self.z, self.stream.mark()

    def rewind(self, mark: tuple[Tensor | None, Tensor]) -> None:
        self.z = mark[0]
        self.stream.rewind(mark[1])
