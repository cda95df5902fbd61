"""Configuration of the DA-CLIP family, as bundles store it: the networks and how they run."""

from dataclasses import dataclass, field
from typing import Literal

from models.daclip.conditional_nafnet import NAFNetConfig
from models.daclip.conditional_unet import UNetConfig
from models.daclip.controller import ControllerConfig
from models.daclip.irsde import SDEConfig
from models.prompt_plan import PromptStyle


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Defaults of a bundle's restoration.

    Attributes:
        sampler: the reverse step; the published one is "posterior".
        views: the number of native-scale crops that the controller sees in addition to the downscaled image; 0 for the
            downscaled image alone, as published, in which noise and JPEG blocks of large images vanish.
        overview: the weight of the downscaled image beside the crops.
        spoken: whether the most probable word conditions the network, as a prompt does, instead of the image's own
            degradation embedding, as published.  An uncertain small controller gives embeddings between the words.
        native_px: larger images, in pixels, are split into tiles of at most as many.  Tiles are an approximation,
            because both networks attend to their whole input.
    """

    sampler: Literal["posterior", "sde", "ode"] = "posterior"
    views: int = 0
    overview: float = 0.2
    spoken: bool = False
    native_px: int = 1024 * 1024
    overlap_px: int = 96


@dataclass(frozen=True, kw_only=True)
class DaCLIPConfig:
    """The controller and one restoration network, either `unet` or `nafnet`.

    Attributes:
        words: the controller's words by our names of the degradations, in the controller's order.
        prompts: whether a prompt is taken as words of the lexicon, or as free text, which is published.
    """

    words: dict[str, str]
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    unet: UNetConfig | None = None
    nafnet: NAFNetConfig | None = None
    sde: SDEConfig = field(default_factory=SDEConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    prompts: PromptStyle = "free"
