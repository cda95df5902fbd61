"""What the tests of the DA-CLIP stages share: captioned photos, a tiny DA-CLIP, and run settings."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.daclip.controller import ControllerConfig, DaCLIP
from models.networks.clip import ClipConfig, TextConfig, VisionConfig
from models.training.core.run_config import RunConfig
from models.training.data.captioned_examples import CaptionedPhoto, load_captioned_photos
from models.training.data.photos import CropConfig, find_photos

TINY = ControllerConfig(
    clip=ClipConfig(
        embed_dim=32,
        vision=VisionConfig(image_size=32, layers=2, width=64, patch_size=8),
        text=TextConfig(width=32, heads=4, layers=1),
        quick_gelu=False,
    )
)


@pytest.fixture(scope="session")
def tiny_controller() -> ControllerConfig:
    return TINY


@pytest.fixture
def tiny_daclip() -> Callable[[int], DaCLIP]:
    """Builds a tiny DA-CLIP by seed."""

    def build(seed: int) -> DaCLIP:
        torch.manual_seed(seed)
        return DaCLIP(TINY)

    return build


@pytest.fixture(scope="session")
def captioned_photos(named_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[CaptionedPhoto]:
    cache = tmp_path_factory.mktemp("captioned_cache")
    return load_captioned_photos(find_photos([named_photos]), [named_photos], {}, cache, 1600)


@pytest.fixture
def daclip_run() -> Callable[..., RunConfig]:
    """Builds the settings of a run of a few steps on the CPU."""

    def build(out: Path, **settings: object) -> RunConfig:
        base = {
            "images": (), "out": out, "steps": 4, "batch": 5, "loaders": 0, "device": "cpu", "warmup_steps": 1,
            "crop": CropConfig(crop_px=32), "validate_every_s": 1e9, "learning_rate": 1e-3,
        }  # fmt: skip
        return RunConfig(**{**base, **settings})

    return build
