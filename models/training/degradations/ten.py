"""DA-CLIP's ten kinds by their words, in the published order, and how each is synthesised."""

import numpy as np

from models.training.degradations.blur import blur
from models.training.degradations.haze import haze
from models.training.degradations.image import Image, Random, Synthesiser
from models.training.degradations.jpeg import jpeg
from models.training.degradations.low_light import low_light
from models.training.degradations.masks import incomplete
from models.training.degradations.noise import noise
from models.training.degradations.pair import REDRAWS, VISIBLE_RMS
from models.training.degradations.rain import rain
from models.training.degradations.raindrop import raindrop
from models.training.degradations.shadow import shadow
from models.training.degradations.snow import snow

TEN: dict[str, Synthesiser] = {
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
