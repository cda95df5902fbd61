"""A folder of photographs as a pool of clean training crops.

Decoding a 3 MP JPEG for one 128 px crop would cost fifty times the crop.  So every photo is decoded once into a
memory-mapped `.npy` in a cache folder; processes share its pages.  Crops are a pure function of (seed, index).

Shapes:  H W pixels.  Photos are RGB (H, W, 3) uint8, crops float32 in [0, 1].
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import TrainingError
from models.training.data.grain import grain
from models.training.data.stripes import striped

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})
Image = NDArray[np.float32]
MAX_GRAIN = 1.0
"""Invisible grain, in levels of 255; the camera noise of a test set has two to three levels."""
MIN_SCALE = 0.3
"""Limit for shrinking a grainy photo; a crop of 128 px then covers 427 px of its photo."""


def find_photos(folders: Sequence[Path]) -> list[Path]:
    """Returns every photo below the folders, sorted within each folder.

    Raises:
        TrainingError: a folder is missing, or holds no photo.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise TrainingError(f"{folder} is not a folder. --images takes folders of photographs.")
        here = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not here:
            raise TrainingError(f"{folder} holds no photo, expected files with {', '.join(sorted(SUFFIXES))}")
        found += here
    return found


def decode_into(cache: Path, photos: Sequence[Path], longest_px: int) -> list[Path]:
    """Decode each photo once, shrunk to at most `longest_px` a side; returns the files.

    Unreadable photos and photos below 64 px a side are left out.
    """
    cache.mkdir(parents=True, exist_ok=True)
    kept = []
    for photo in photos:
        name = hashlib.sha256(f"{photo.resolve()}:{longest_px}".encode()).hexdigest()[:16]
        target = cache / f"{name}.npy"
        if not target.exists():
            pixels = cv2.imread(str(photo), cv2.IMREAD_COLOR_RGB)
            if pixels is None or min(pixels.shape[:2]) < 64:
                continue
            scale = longest_px / max(pixels.shape[:2])
            if scale < 1:
                pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            partial = target.with_suffix(".part.npy")
            np.save(partial, np.ascontiguousarray(pixels))
            partial.replace(target)
        kept.append(target)
    return kept


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How a clean crop is cut.

    Attributes:
        shrink: a crop covers crop_px / s pixels of its photo, s from this range; shrinking hides JPEG damage.
        distant: share of crops that are degraded at up to `max_distance` times the size and then shrunk to crop_px,
            like a large picture that is assessed as a whole.
        softened: share of slightly soft crops, like those of camera optics and demosaicing; they are not blurred.
        striped: share of crops with added stripes, which are not damage (models.training.data.stripes).
        turned: share of examples that are turned after the damage, by one of the three other right angles, like
            photographs that are stored sideways.  Rain then falls in any of four directions.
        max_grain: largest grain of a crop, in levels of 255 (models.training.data.grain); a grainier photo is shrunk
            more, down to MIN_SCALE.  None: no limit.
    """

    crop_px: int = 128
    shrink: tuple[float, float] = (0.4, 1.0)
    distant: float = 0.0
    max_distance: float = 3.0
    softened: float = 0.0
    striped: float = 0.0
    turned: float = 0.0
    max_grain: float | None = None


class PhotoPool:
    """Clean crops from decoded photos; one photo in `hold_out` is held out for validation."""

    def __init__(self, files: Sequence[Path], *, validation: bool, hold_out: int = 20) -> None:
        chosen = [file for i, file in enumerate(files) if (i % hold_out == 0) == validation]
        self._photos: list[NDArray[np.uint8]] = [np.load(file, mmap_mode="r") for file in chosen or files]
        self._grain_by_photo: dict[int, float] = {}  # measured on first use
        areas = np.array([photo.shape[0] * photo.shape[1] for photo in self._photos], dtype=np.float64)
        self._odds = np.sqrt(areas) / np.sqrt(areas).sum()  # large photos more often, but not in proportion

    def __len__(self) -> int:
        return len(self._photos)

    def crop(self, rng: np.random.Generator, config: CropConfig) -> Image:
        """Draw a clean crop (crop_px, crop_px, 3) with a random flip and rotation; most flat crops are drawn again."""
        for attempt in range(4):
            crop = self._draw(rng, config)
            if attempt == 3 or crop.std() > 0.04 or rng.random() < 0.1:
                break
        if config.striped and rng.random() < config.striped:
            crop = striped(crop, rng)
        if config.softened and rng.random() < config.softened:
            crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.4, 0.9), borderType=cv2.BORDER_REFLECT_101)
        crop = np.rot90(crop, int(rng.integers(4)))
        return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)

    def _grain(self, index: int) -> float:
        """Returns the grain of a photo at its own size; shrinking by s leaves about s of it."""
        if index not in self._grain_by_photo:
            self._grain_by_photo[index] = grain(self._photos[index])
        return self._grain_by_photo[index]

    def _draw(self, rng: np.random.Generator, config: CropConfig) -> Image:
        chosen = int(rng.choice(len(self._photos), p=self._odds))
        photo = self._photos[chosen]
        height, width = photo.shape[:2]
        low, high = config.shrink
        if config.max_grain is not None:
            high = min(high, max(MIN_SCALE, config.max_grain / max(self._grain(chosen), 1e-3)))
            low = min(low, high)
        side = round(config.crop_px / rng.uniform(low, high))
        side = min(side, height, width)
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        window = np.ascontiguousarray(photo[top : top + side, left : left + side])
        if side != config.crop_px:
            method = cv2.INTER_AREA if side > config.crop_px else cv2.INTER_CUBIC
            window = cv2.resize(window, (config.crop_px, config.crop_px), interpolation=method)
        crop: Image = window.astype(np.float32) / np.float32(255)
        return crop
