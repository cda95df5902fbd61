"""The kinds of damage that can be synthesised, by their vocabulary names."""

from models.training.degradations.blur import blur
from models.training.degradations.haze import haze
from models.training.degradations.image import Synthesiser
from models.training.degradations.jpeg import jpeg
from models.training.degradations.low_light import low_light
from models.training.degradations.low_resolution import low_resolution
from models.training.degradations.noise import noise
from models.training.degradations.rain import rain
from models.training.degradations.raindrop import raindrop
from models.training.degradations.snow import snow

SYNTHESISERS: dict[str, Synthesiser] = {
    "noise": noise,
    "blur": blur,
    "rain": rain,
    "low-light": low_light,
    "haze": haze,
    "low-resolution": low_resolution,
    "raindrop": raindrop,
    "jpeg": jpeg,
    "snow": snow,
}

PHYSICAL_ORDER = ("haze", "rain", "snow", "raindrop", "low-light", "blur", "noise", "low-resolution", "jpeg")
"""How damage comes about: in the air, on the pane, in the lens, on the sensor, in the file."""
