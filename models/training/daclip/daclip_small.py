"""The sizes of the small bundle `daclip-small`: the published classes with small configurations.

No base CLIP of this size exists, so the stage `daclip` trains the image encoder together with the controller.  The
text encoder comes from `python -m models.training text --family daclip`, which trains it on users' phrasings.
"""

from models.daclip.conditional_nafnet import NAFNetConfig
from models.daclip.conditional_unet import UNetConfig
from models.daclip.config import LoopConfig
from models.daclip.controller import ControllerConfig
from models.etdiffir.erunet import EfficientUNetConfig
from models.networks.clip import ClipConfig, TextConfig, VisionConfig
from models.vocabulary import DACLIP_WORDS, degradation

WORDS = {degradation(word).name: word for word in DACLIP_WORDS}
"""DA-CLIP's words by name; each word is its own class prompt."""

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
"""The size of the correction module of `autodir-small`, whose weights it may start with (nafnet_start.py)."""

LOOP = LoopConfig(views=9, spoken=True)
EFFICIENT_UNET = EfficientUNetConfig(
    width=32, multipliers=(1, 2, 4, 4), context_dim=CONTROLLER.clip.embed_dim, mode="paper"
)
