"""What a bundle of the ETDiffIR family states: its networks and how they are run."""

from dataclasses import dataclass, field
from typing import Literal

from models.daclip.config import LoopConfig
from models.daclip.controller import ControllerConfig
from models.daclip.irsde import SDEConfig
from models.etdiffir.erunet import EfficientUNetConfig

Fallback = Literal["content", "word", "neutral"]


@dataclass(frozen=True, kw_only=True)
class ETDiffIRConfig:
    """The networks and the pass.  `words` are what the controller knows, in its order, by our names.

    Attributes:
        fallback: the caption of a picture that comes without one (see models.etdiffir.captions).
        loop: the published sampler is Euler-Maruyama's reverse SDE.
    """

    words: dict[str, str]
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    unet: EfficientUNetConfig = field(default_factory=EfficientUNetConfig)
    sde: SDEConfig = field(default_factory=SDEConfig)
    fallback: Fallback = "content"
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(sampler="sde"))
