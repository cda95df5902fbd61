"""What a training run is told, stored beside its result.

One `RunConfig` for what all stages share, and one small dataclass a stage for what is its own.
"""

from dataclasses import dataclass, field
from pathlib import Path

from models.training.data.degradations import Mixture
from models.training.data.photos import CropConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Shared by the stages.

    Attributes:
        images: folders of photographs.
        minutes: the budget; the learning rate's cosine ends with it.
        steps: a budget in steps instead, which makes a run reproducible; None counts minutes.
        muon: Muon's learning rate for the kernels (models.training.core.optimizers); None steps all with AdamW.
        bf16: autocast to bfloat16; None means on CUDA only.  A CPU with AVX512-BF16 gains half as much again.
        validate_every_s: seconds between validations; each saves a resumable checkpoint.
    """

    images: tuple[Path, ...]
    out: Path
    minutes: float = 60.0
    steps: int | None = None
    batch: int = 8
    learning_rate: float = 1e-3
    muon: float | None = None
    weight_decay: float = 0.0
    warmup_steps: int = 200
    ema: float = 0.999
    clip_norm: float = 1.0
    seed: int = 0
    device: str = "auto"
    bf16: bool | None = None
    threads: int | None = None
    loaders: int = 1
    validate_every_s: float = 300.0
    longest_px: int = 1600
    crop: CropConfig = field(default_factory=CropConfig)
    mixture: Mixture = field(default_factory=Mixture)
