"""The sizes of the small bundle `daclip-small`: the published classes with small configurations.

No base CLIP of this size exists, so the stage `daclip` trains the image tower together with the controller.  Its text
tower is `python -m models.training.core.text --classes daclip`'s, which knows the ten words as users say them.
"""

from models.daclip.conditional_nafnet import NAFNetConfig
from models.daclip.conditional_unet import UNetConfig
from models.daclip.config import LoopConfig
from models.daclip.controller import ControllerConfig
from models.daclip.irsde import SDEConfig
from models.etdiffir.erunet import EfficientUNetConfig
from models.networks.clip import ClipConfig, TextConfig, VisionConfig

CONTROLLER = ControllerConfig(
    clip=ClipConfig(
        embed_dim=128,
        vision=VisionConfig(image_size=128, layers=4, width=192, patch_size=16),
        text=TextConfig(width=128, heads=4, layers=2),
        quick_gelu=False,
    )
)

UNET = UNetConfig(width=32, multipliers=(1, 2, 4, 4), context_dim=CONTROLLER.clip.embed_dim)
WILD_UNET = UNetConfig(
    width=32, multipliers=(1, 2, 4, 4), context_dim=CONTROLLER.clip.embed_dim, prompt=False, half_scale=True
)
NAFNET = NAFNetConfig(
    width=24, encoder_blocks=(1, 1, 1, 2), middle_blocks=1, decoder_blocks=(1, 1, 1, 1),
    context_dim=CONTROLLER.clip.embed_dim, patch=2,
)  # fmt: skip
"""As wide and deep as autodir-small's correction module, whose weights it may begin with (training.transplant)."""

LOOP = LoopConfig(views=9, spoken=True)
EFFICIENT = EfficientUNetConfig(width=32, multipliers=(1, 2, 4, 4), context_dim=CONTROLLER.clip.embed_dim, mode="paper")


def sampled(steps: int | None) -> SDEConfig:
    """The published schedule in so many steps; None for all hundred."""
    return SDEConfig(sample_steps=steps)
