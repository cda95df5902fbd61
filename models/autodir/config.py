"""The configuration of an AutoDIR bundle: its networks, and how the loop runs by default."""

from dataclasses import dataclass, field

from models.autodir.air import AIRConfig
from models.autodir.specialists import SpecialistConfig
from models.networks.clip import ClipConfig
from models.networks.nafnet import NAFNetConfig


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How a bundle runs by default.

    Attributes:
        sampler: a name of models.autodir.samplers.
        end_timestep: where the last estimate of the clean picture is taken (models.autodir.samplers.plan); 0 as
            published.
        temperature: amplitude of the first noise, 1 as published.  Toward 0 the sampler heads for the mean of what the
            picture may have been, which is nearer to the truth and less inventive.
        floor: least probability, among the names considered, at which the safe loop repairs something.
        later_floor: the same for passes after the first, for what the first look gave less than `glimpsed`: what a
            repair leaves looks like other damage, and most pictures have one.
        blackening: the share of pixels, in [0, 1], that dehazing in the safe loop may drive to black before it is taken
            back; black holds nothing, and a picture that was not hazy turns black when it is dehazed.
        views: native-scale crops that the assessor looks at, at most.
        overview: the share of its answer that a look at the shrunk whole gives, in [0, 1).
        wary: taken off the assessor's logit of "clean", which training shows more often than the others.
        cache_every: the U-Net's depths are computed at every so many steps and taken over between; 1, exact, is all.
        guidance_every: what guidance adds is computed at every so many steps and taken over between; 1 is exact.
            Both are approximations (docs/performance.md) that strict mode passes over.
        native_px: images of at most so many pixels go through whole; larger ones as tiles of `tile_px` a side.
    """

    sampler: str = "euler-ancestral"
    steps: int = 100
    end_timestep: float = 0.0
    temperature: float = 1.0
    max_passes: int = 7
    floor: float = 0.4
    later_floor: float = 0.0
    glimpsed: float = 1.0
    blackening: float = 1.0
    views: int = 9
    overview: float = 0.0
    wary: float = 0.0
    cache_every: int = 1
    guidance_every: int = 1
    native_px: int = 1024 * 1024
    tile_px: int = 768
    overlap_px: int = 96


@dataclass(frozen=True, kw_only=True)
class AutoDIRConfig:
    """The networks and the loop.

    `names` in the assessor's order; `fidelity` the default w of each; `strength` how much of a change the safe loop
    takes (1 where unnamed): the share with the least error on held-out photographs, since a small network overshoots.
    `floors` the confidence that the safe loop wants beyond `loop.floor`, for repairs that harm what they do not fit.
    """

    names: tuple[str, ...]
    fidelity: dict[str, float]
    strength: dict[str, float] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    clip: ClipConfig = field(default_factory=ClipConfig)
    air: AIRConfig = field(default_factory=AIRConfig)
    scm: NAFNetConfig = field(default_factory=NAFNetConfig)
    specialists: dict[str, SpecialistConfig] = field(default_factory=dict)
    loop: LoopConfig = field(default_factory=LoopConfig)
