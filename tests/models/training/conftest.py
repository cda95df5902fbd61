"""Photos and run settings that the training tests share."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.core.run_config import RunConfig
from models.training.data.degradations import Mixture
from models.training.data.photos import CropConfig, decode_into, find_photos


def write_photos(folder: Path, names: tuple[str, ...]) -> Path:
    """Writes blurred random pictures, 200 x 160 px."""
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        blobs = cv2.resize(rng.random((12, 16, 3)), (200, 160), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / name), (255 * np.clip(blobs, 0, 1)).astype(np.uint8))
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three photos."""
    return write_photos(tmp_path_factory.mktemp("photos"), ("0.png", "1.png", "2.png"))


@pytest.fixture(scope="session")
def named_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos in folders whose names serve as captions."""
    names = ("golden_retriever-02/a.png", "golden_retriever-02/b.png", "red_car/c.png")
    return write_photos(tmp_path_factory.mktemp("named_photos"), names)


@pytest.fixture(scope="session")
def files(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The three photos, decoded."""
    return decode_into(tmp_path_factory.mktemp("cache"), find_photos([photos]), 1600)


@pytest.fixture(scope="session")
def run_config() -> Callable[..., RunConfig]:
    """Builds the settings of a short run on the CPU, with low light as the only damage."""

    def build(out: Path, **settings: object) -> RunConfig:
        base = {
            "images": (), "out": out, "steps": 6, "batch": 2, "loaders": 0, "device": "cpu", "warmup_steps": 1,
            "crop": CropConfig(crop_px=32), "mixture": Mixture(weights={"low-light": 1.0}, two_kinds=0.0),
            "validate_every_s": 1e9,
        }  # fmt: skip
        return RunConfig(**{**base, **settings})

    return build
