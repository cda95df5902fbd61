"""What a bundle of the DA-CLIP family states: its networks and how they are run."""

from dataclasses import dataclass, field
from typing import Literal

from models.daclip.conditional_nafnet import NAFNetConfig
from models.daclip.conditional_unet import UNetConfig
from models.daclip.controller import ControllerConfig
from models.daclip.irsde import SDEConfig


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How a bundle runs by default.

    Attributes:
        sampler: the reverse step; "posterior" as published.
        views: how many native-scale crops, and the shrunk whole beside them, the controller looks at; 0 for the whole
            alone, as published, where noise and JPEG's blocks vanish from large pictures.
        overview: the share of the shrunk whole beside the crops.
        spoken: whether the most probable word conditions the network, as a prompt does, and not the picture's own
            embedding, as published.  A small controller's embeddings lie between the words where it is not sure.
        native_px: images of at most so many pixels go through whole; larger ones as tiles of `tile_px` a side.  Tiles
            are an approximation: both networks attend to all that they are given.
    """

    sampler: Literal["posterior", "sde", "ode"] = "posterior"
    views: int = 0
    overview: float = 0.2
    spoken: bool = False
    native_px: int = 1024 * 1024
    tile_px: int = 768
    overlap_px: int = 96


@dataclass(frozen=True, kw_only=True)
class DaCLIPConfig:
    """The networks and the pass.  `words` are what the controller knows, in its order, by our names.

    One of `unet` and `nafnet` is there.
    """

    words: dict[str, str]
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    unet: UNetConfig | None = None
    nafnet: NAFNetConfig | None = None
    sde: SDEConfig = field(default_factory=SDEConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
