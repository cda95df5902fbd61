"""Make the four small samples of the page, web/samples, from the photos of this folder: `python examples/make_page_samples.py`.

They are cut out, not reduced: reducing would take the damage away.  The whole set has less than 150 kB.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from models.training.data.degradations.image_operations import as_bytes, clip, from_bytes
from models.training.data.degradations.low_light import expose

EXAMPLES = Path(__file__).parent
SAMPLES = EXAMPLES.parent / "web" / "samples"
SIZE_PX = (384, 288)
QUALITY = 80


def centered(photo: Pillow.Image, left: float = 0.5, top: float = 0.5) -> Pillow.Image:
    """Returns a part of SIZE_PX; `left` and `top` (0 to 1) say where it lies."""
    width, height = min(SIZE_PX[0], photo.width), min(SIZE_PX[1], photo.height)
    x, y = round((photo.width - width) * left), round((photo.height - height) * top)
    return photo.crop((x, y, x + width, y + height))


def low_light(clean: Pillow.Image, factor: float, seed: int) -> Pillow.Image:
    """Returns the photo with too little light."""
    dark = expose(from_bytes(np.asarray(clean.convert("RGB"))), np.random.default_rng(seed), factor)
    return Pillow.fromarray(as_bytes(clip(dark)))


def main() -> None:
    SAMPLES.mkdir(parents=True, exist_ok=True)
    with (
        Pillow.open(EXAMPLES / "cat-noisy.jpg") as cat, Pillow.open(EXAMPLES / "photographer-rainy.jpg") as photographer,
        Pillow.open(EXAMPLES / "raccoon-hazy.jpg") as raccoon, Pillow.open(EXAMPLES / "clean" / "cat.jpg") as clean_cat,
    ):  # fmt: skip
        made = {
            "noise": centered(cat, 0.2, 0.2), "rain": centered(photographer, 0.5, 0.1),
            "haze": centered(raccoon), "low-light": low_light(centered(clean_cat, 0.2, 0.2), 0.2, 3),
        }  # fmt: skip
    for name, sample in made.items():
        data = io.BytesIO()
        sample.save(data, "JPEG", quality=QUALITY, optimize=True)
        (SAMPLES / f"{name}.jpg").write_bytes(data.getvalue())


if __name__ == "__main__":
    main()
