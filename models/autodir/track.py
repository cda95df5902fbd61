"""The state of an image, and of its tiles, between steps and passes of AutoDIR.

Shapes:  C latent channels, h w latent pixels, H W pixels, L D text tokens and width.  Images are RGB (3, H, W), see
models.pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from models.autodir.denoiser import StepCache
from models.autodir.samplers import Plan
from models.controls import Controls
from models.noise import NoiseStream
from models.prompt_plan import PromptPlan
from models.restoration_report import PassReport, Understood
from models.restorer import Outcome
from models.tiles import Canvas, Tile
from models.vocabulary import CLEAN


@dataclass(eq=False)
class ImageRun:
    """The state of one image through all passes.

    A photo that a network will enlarge has its own size until then: `image` and `result` are `factor` times smaller
    than `original`.
    """

    controls: Controls
    original: Tensor  # (3, H, W)
    image: Tensor  # (3, H, W): the input of this pass
    result: Tensor  # (3, H, W): the best result so far
    remaining: tuple[str, ...]
    before: dict[str, float]  # the assessment of `image`
    first: dict[str, float] = field(default_factory=dict)
    reference: dict[str, float] | None = None  # the assessment of a crop whose `before` is that of the whole image
    plan: PromptPlan | None = None  # of a prompt; None also for a free one
    understood: Understood | None = None
    condition: Tensor | None = None  # (L, D)
    label: str = CLEAN
    source: str = "auto"
    specialist: str | None = None  # repairs this pass; None: diffusion and correction
    passes: list[PassReport] = field(default_factory=list)
    restored: Canvas | None = None
    diffused: Canvas | None = None  # only if the next pass starts from it
    blended: Tensor | None = None  # (3, H, W): from `restored`, until the pass has ended
    carried: Tensor | None = None  # (3, H, W): from `diffused`, as long
    tiles_left: int = 0
    started_s: float = 0.0
    tile_px: int | None = None
    factor: int = 1
    compressed: bool = False
    small: Tensor | None = None  # (3, H / s, W / s): what this pass enlarges to `image` and better
    overview: Tensor | None = None  # (3, h, w): `image` shrunk, where its repair gives the tiles their tone
    tone: Tensor | None = None  # (3, h, w): the repaired overview

    @property
    def free_prompt(self) -> bool:
        """Whether the prompt itself conditions a single pass."""
        return self.controls.prompt is not None and self.plan is None

    @property
    def asked(self) -> tuple[str, ...] | None:
        """The repairs that the prompt asks for and that are still to come; None where the assessor chooses."""
        if self.plan is None or self.plan.action != "repairs":
            return None
        return tuple(name for name in self.plan.repairs if name in self.remaining)


@contextmanager
def unchanged_on_failure(run: ImageRun) -> Iterator[None]:
    """Restore the fields of a run if the block fails, so that the end of its pass can be tried again."""
    before = dict(vars(run))
    try:
        yield
    except Exception:
        vars(run).update(before)
        raise


@dataclass(eq=False, kw_only=True)
class PassTrack:
    """A tile of a run in one pass."""

    run: ImageRun
    area: Tile  # of the input
    padded: tuple[int, int]
    pass_index: int
    passes: int
    steps: int
    step: int = 0
    closed: bool = False  # its pixels are part of its image
    outcome: Outcome | None = None  # of `finish`, which may be called again after a failure

    @property
    def shape(self) -> tuple[int, ...]:
        return self.padded

    @property
    def tile(self) -> tuple[int, int]:
        return self.area.index, self.area.count


@dataclass(eq=False, kw_only=True)
class SpecialistTrack(PassTrack):
    """A track that a specialist restores in one step.  `place` is its tile of the result; of `area`, but enlarged.

    `whole`: it restores the overview, not a tile.
    """

    place: Tile
    whole: bool = False
    restored: Tensor | None = None  # (3, h, w) of `place`, on the device

    def mark(self) -> None:
        """Its one step changes the state only at its end."""

    def rewind(self, mark: None) -> None:
        self.step, self.restored = 0, None


@dataclass(eq=False, kw_only=True)
class AutoDIRTrack(PassTrack):
    """A track for diffusion and correction.

    Latents exist only from the first step to the last, so waiting tiles need no device memory.
    """

    plan: Plan
    stream: NoiseStream
    z: Tensor | None = None  # (C, h, w), in the sampler's own space
    z_image: Tensor | None = None  # (C, h, w)
    earlier: Tensor | None = None  # (C, h, w): the previous denoised estimate
    cache: StepCache = field(default_factory=StepCache)

    def mark(self) -> tuple[int, Tensor | None, Tensor | None, Tensor]:
        """Returns the current state, for `rewind`."""
        return self.step, self.z, self.earlier, self.stream.mark()

    def rewind(self, mark: tuple[int, Tensor | None, Tensor | None, Tensor]) -> None:
        self.step, self.z, self.earlier, stream = mark
        self.stream.rewind(stream)
