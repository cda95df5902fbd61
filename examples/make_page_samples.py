"""Make the four small samples of the page from the photos of this folder: `python examples/make_page_samples.py`.

They are cut out, not reduced: reducing would take the damage away.  The whole set has less than 150 kB.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from models.training.data.degradations.image_operations import as_bytes, clip, from_bytes
from models.training.data.degradations.low_light import expose
from models.training.data.degradations.sensor_noise import gaussian

EXAMPLES = Path(__file__).parent
SAMPLES = EXAMPLES.parent / "web" / "samples"
SIZE_PX = (384, 288)
NOISE = {"quality": 85, "subsampling": 0}  # coarser files have another noise than a sensor's
OTHER = {"quality": 80}


def centered(photo: Pillow.Image, left: float = 0.5, top: float = 0.5) -> Pillow.Image:
    """Returns a part of SIZE_PX; `left` and `top` (0 to 1) say where it lies."""
    width, height = min(SIZE_PX[0], photo.width), min(SIZE_PX[1], photo.height)
    x, y = round((photo.width - width) * left), round((photo.height - height) * top)
    return photo.crop((x, y, x + width, y + height))


def noisy(clean: Pillow.Image, sigma: float, seed: int) -> Pillow.Image:
    """Returns the photo with white noise of `sigma` of 255."""
    pixels = from_bytes(np.asarray(clean.convert("RGB")))
    return Pillow.fromarray(as_bytes(clip(gaussian(pixels, sigma / 255, np.random.default_rng(seed)))))


def low_light(clean: Pillow.Image, factor: float, seed: int) -> Pillow.Image:
    """Returns the photo with too little light."""
    dark = expose(from_bytes(np.asarray(clean.convert("RGB"))), np.random.default_rng(seed), factor)
    return Pillow.fromarray(as_bytes(clip(dark)))


def main() -> None:
    SAMPLES.mkdir(parents=True, exist_ok=True)
    with (
        Pillow.open(EXAMPLES / "clean" / "cat.jpg") as cat, Pillow.open(EXAMPLES / "raccoon-hazy.jpg") as raccoon,
        Pillow.open(EXAMPLES / "photographer-rainy.jpg") as photographer,
    ):  # fmt: skip
        made = {
            "noise": noisy(centered(cat, 0.2, 0.2), 18, 3), "rain": centered(photographer, 0.5, 0.1),
            "haze": centered(raccoon), "low-light": low_light(centered(cat, 0.2, 0.2), 0.2, 3),
        }  # fmt: skip
    for name, sample in made.items():
        data = io.BytesIO()
        sample.save(data, "JPEG", **(NOISE if name == "noise" else OTHER))
        (SAMPLES / f"{name}.jpg").write_bytes(data.getvalue())


if __name__ == "__main__":
    main()
