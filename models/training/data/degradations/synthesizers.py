"""The synthesizers of the nine kinds of damage, by vocabulary names."""

from models.training.data.degradations.blur import blur
from models.training.data.degradations.haze import haze
from models.training.data.degradations.image_operations import Synthesizer
from models.training.data.degradations.jpeg import jpeg
from models.training.data.degradations.low_light import low_light
from models.training.data.degradations.low_resolution import low_resolution
from models.training.data.degradations.rain import rain
from models.training.data.degradations.raindrop import raindrop
from models.training.data.degradations.sensor_noise import noise
from models.training.data.degradations.snow import snow

SYNTHESIZERS: dict[str, Synthesizer] = {
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
"""The order in which damage arises: in the air, on the pane, in the lens, on the sensor, in the file."""
