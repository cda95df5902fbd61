"""Configuration of the ETDiffIR family, as bundles store it: the networks and how they run."""

from dataclasses import dataclass, field
from typing import Literal

from models.daclip.config import LoopConfig
from models.daclip.controller import ControllerConfig
from models.daclip.irsde import SDEConfig
from models.etdiffir.erunet import EfficientUNetConfig

Fallback = Literal["content", "word", "neutral"]


@dataclass(frozen=True, kw_only=True)
class ETDiffIRConfig:
    """The controller, the U-Net and the sampling.

    Attributes:
        words: the controller's words by our names of the degradations, in the controller's order.
        fallback: the caption feature of an image without a caption (see models.etdiffir.caption_embedding).
        loop: the published sampler is "sde", the reverse Euler-Maruyama step.
    """

    words: dict[str, str]
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    unet: EfficientUNetConfig = field(default_factory=EfficientUNetConfig)
    sde: SDEConfig = field(default_factory=SDEConfig)
    fallback: Fallback = "content"
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(sampler="sde"))
