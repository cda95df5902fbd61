"""The configuration of an AutoDIR bundle: its networks, and the defaults of the loop."""

from dataclasses import dataclass, field

from models.autodir.air import AIRConfig
from models.autodir.specialists import SpecialistConfig
from models.networks.clip import ClipConfig
from models.networks.nafnet import NAFNetConfig
from models.prompt_plan import PromptStyle


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The defaults of a bundle's loop.

    Attributes:
        sampler: a name of models.autodir.samplers.
        end_timestep: timestep of the last estimate of the clean picture (models.autodir.samplers.plan); 0 as published.
        temperature: amplitude of the first noise, 1 as published.  Toward 0 the sampler approaches the mean of all
            plausible pictures, which is closer to the truth and less inventive.
        floor: least probability at which the safe loop repairs a degradation: its own among all names, or, with `only`,
            among "clean" and the names that the user named.
        later_floor: the floor of passes after the first, for degradations whose first probability was below `glimpsed`:
            the traces of a repair look like other damage, and most pictures have one degradation.
        glimpsed: see `later_floor`.
        blackening: largest share of pixels, in [0, 1], that dehazing in the safe loop may turn black; beyond it the
            repair is taken back.  Black pixels hold no detail, and dehazing turns a picture without haze black.
        views: largest number of native-scale crops that the assessor sees.
        overview: share of the shrunk whole image in the assessor's answer, in [0, 1).
        wary: subtracted from the assessor's logit of "clean"; below 0, fewer pictures are repaired.
        cache_every: the U-Net's deep features are computed at every n-th step and reused between; 1 is exact.
        guidance_every: the guidance offset is computed at every n-th step and reused between; 1 is exact.  Both are
            approximations (docs/performance-autodir.md) that strict mode ignores.
        native_px: images of at most this many pixels are processed whole; larger ones as tiles of at most as many.
        overlap_px: overlap of neighboring tiles.
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
    overlap_px: int = 96


@dataclass(frozen=True, kw_only=True)
class AutoDIRConfig:
    """The networks and the loop.

    `names` are in the assessor's order, and `fidelity` is the default w of each name.  `strength` is the share of a
    repair that the safe loop applies (default 1): the share with the least error on held-out photos, because a small
    network overshoots.  `floors` are least probabilities above `loop.floor`, for repairs that harm undamaged images.
    `taught` are degradations with an AIR and an SCM of their own (models.autodir.system).  `prompts` are taken as words
    of the lexicon or as free text, which is published.
    """

    names: tuple[str, ...]
    fidelity: dict[str, float]
    strength: dict[str, float] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    clip: ClipConfig = field(default_factory=ClipConfig)
    air: AIRConfig = field(default_factory=AIRConfig)
    scm: NAFNetConfig = field(default_factory=NAFNetConfig)
    specialists: dict[str, SpecialistConfig] = field(default_factory=dict)
    taught: tuple[str, ...] = ()
    loop: LoopConfig = field(default_factory=LoopConfig)
    prompts: PromptStyle = "free"
