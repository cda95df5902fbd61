"""DA-CLIP's ten kinds by their words, in the published order, and how each is synthesized."""

import numpy as np

from models.training.data.degradations.blur import blur
from models.training.data.degradations.haze import haze
from models.training.data.degradations.image import Image, Random, Synthesizer
from models.training.data.degradations.jpeg import jpeg
from models.training.data.degradations.low_light import low_light
from models.training.data.degradations.masks import incomplete
from models.training.data.degradations.pair import REDRAWS, VISIBLE_RMS
from models.training.data.degradations.rain import rain
from models.training.data.degradations.raindrop import raindrop
from models.training.data.degradations.sensor_noise import noise
from models.training.data.degradations.shadow import shadow
from models.training.data.degradations.snow import snow

TEN: dict[str, Synthesizer] = {
    "motion-blurry": blur,
    "hazy": haze,
    "jpeg-compressed": jpeg,
    "low-light": low_light,
    "noisy": noise,
    "raindrop": raindrop,
    "rainy": rain,
    "shadowed": shadow,
    "snowy": snow,
    "uncompleted": incomplete,
}


def damaged(word: str, clean: Image, rng: Random) -> Image:
    """The picture with this damage; drawn again, a few times, where it cannot be seen."""
    degraded = clean
    for _ in range(1 + REDRAWS):
        degraded = TEN[word](clean, rng)
        if float(np.sqrt(np.mean((degraded - clean) ** 2))) > VISIBLE_RMS:
            break
    return degraded
