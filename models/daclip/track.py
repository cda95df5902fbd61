"""The state of an image of the DA-CLIP family and of its tiles while they are restored.

Shapes:  H W pixels, E embedding, T steps.  Images are RGB (3, H, W), see models.pixels; states are on the device,
in [0, 1].
"""

from dataclasses import dataclass, field

from torch import Tensor

from models.controls import Controls
from models.daclip.conditional_unet import Constants
from models.daclip.irsde import IRSDE
from models.noise import NoiseStream
from models.prompt_plan import PromptPlan
from models.restoration_report import PassReport, Understood
from models.restorer import Outcome
from models.tiles import Canvas, Tile


@dataclass(eq=False)
class ImageRun:
    """What the tiles of one image share during a pass; only a prompt with several repairs has several passes."""

    controls: Controls
    image: Tensor  # (3, H, W): the input of this pass
    probabilities: dict[str, float]
    original: Tensor | None = None  # (3, H, W): the photo, where `image` is the result of an earlier pass
    plan: PromptPlan | None = None  # of a prompt; None also for a free one
    asked: tuple[str, ...] = ()  # the repairs that follow this pass
    cut: bool = False  # the user's `max_passes` leaves some of what was asked for
    passes: tuple[PassReport, ...] = ()  # those before
    first: dict[str, float] = field(default_factory=dict)  # what was found before them
    tile_px: int | None = None
    label: str = ""
    source: str = "auto"
    probability: float = 0.0
    constants: Constants | None = None
    embeddings: Tensor | None = None  # (T, E): time and prompt of every step, in the order of the steps
    canvas: Canvas | None = None
    result: Tensor | None = None  # (3, H, W), once all tiles are there
    kept: bool = True
    tiles_left: int = 0
    started_s: float = 0.0
    warnings: tuple[str, ...] = ()
    understood: Understood | None = None


@dataclass(eq=False)
class DaCLIPTrack:
    """One tile of an image.  Its state exists from the first step to the last, so waiting tiles need no memory."""

    run: ImageRun
    area: Tile
    sde: IRSDE | None  # None for a one-step network
    padded: tuple[int, int]
    stream: NoiseStream
    step: int = 0
    mu: Tensor | None = None  # (3, H, W)
    x: Tensor | None = None  # (3, H, W)

    pass_index: int = 0
    passes: int = 1
    outcome: Outcome | None = None  # of `finish`, which may be called again after a failure

    @property
    def shape(self) -> tuple[int, ...]:
        return self.padded

    @property
    def steps(self) -> int:
        return self.sde.T if self.sde else 1

    @property
    def tile(self) -> tuple[int, int]:
        return self.area.index, self.area.count

    def mark(self) -> tuple[Tensor | None, Tensor]:
        """Returns what `rewind` needs to undo a step."""
        return self.x, self.stream.mark()

    def rewind(self, mark: tuple[Tensor | None, Tensor]) -> None:
        self.x = mark[0]
        self.stream.rewind(mark[1])
