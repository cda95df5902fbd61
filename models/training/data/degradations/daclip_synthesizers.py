"""The synthesizers of DA-CLIP's ten kinds of damage, by their words, in the published order."""

from models.training.data.degradations.blur import blur
from models.training.data.degradations.haze import haze
from models.training.data.degradations.image_operations import Image, Random, Synthesizer
from models.training.data.degradations.jpeg import jpeg
from models.training.data.degradations.low_light import low_light
from models.training.data.degradations.masks import incomplete
from models.training.data.degradations.rain import rain
from models.training.data.degradations.raindrop import raindrop
from models.training.data.degradations.sensor_noise import noise
from models.training.data.degradations.shadow import shadow
from models.training.data.degradations.snow import snow
from models.training.data.degradations.training_pair import draw_visible

DACLIP_SYNTHESIZERS: dict[str, Synthesizer] = {
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


def degrade(word: str, clean: Image, rng: Random) -> Image:
    """Returns the picture with this damage; invisible damage is drawn again a few times."""
    degraded, _ = draw_visible(DACLIP_SYNTHESIZERS[word], clean, rng)
    return degraded
