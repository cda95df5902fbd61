"""Settings of a training run that all stages share; a run stores them beside its result.

Each stage adds a dataclass of its own.
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
        minutes: training time; the cosine schedule of the learning rate ends with it.
        steps: a budget in steps instead, which makes a run reproducible; None counts minutes.
        muon: learning rate of Muon for the kernels (models.training.core.optimizers); None uses AdamW alone.
        bf16: autocast to bfloat16; None means on CUDA only.  A CPU with AVX512-BF16 runs about 1.5 times as fast.
        ema: decay of the moving average of the weights.
        loaders: processes that make training pairs.
        validate_every_s: seconds between validations; each saves a resumable checkpoint.
        longest_px: decoded photos are shrunk to this longer side.
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
