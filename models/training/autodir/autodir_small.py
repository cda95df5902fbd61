"""The sizes of the shipped bundle `autodir-small`: the published classes with small configurations."""

from dataclasses import replace

from models.autodir.air import AIRConfig, UNetConfig
from models.autodir.config import LoopConfig
from models.autodir.latents import PatchConfig
from models.autodir.specialists import SpecialistConfig
from models.networks.clip import ClipConfig, TextConfig, VisionConfig
from models.networks.drunet import DRUNetConfig
from models.networks.evidence_encoder import EvidenceEncoderConfig
from models.networks.nafnet import NAFNetConfig

NAMES = ("noise", "blur", "rain", "low-light", "haze", "low-resolution", "raindrop", "jpeg", "snow", "clean")
"""What the small assessor is asked, in order: AutoDIR's seven, JPEG and snow, and "clean" last."""

SPECIALISTS = {
    "detail": SpecialistConfig(
        names=("noise", "jpeg", "low-resolution"),
        network=DRUNetConfig(width=48, blocks=(2, 2, 2), patch=2),
        mirrored=True,
    ),
    "weather": SpecialistConfig(
        names=("rain", "snow", "raindrop"), network=DRUNetConfig(width=32, blocks=(2, 2, 2, 3), patch=2), mirrored=True
    ),
    "light": SpecialistConfig(
        names=("haze", "low-light"), network=DRUNetConfig(width=32, blocks=(1, 1, 2, 2), patch=2, tonal=True)
    ),
    "blur": SpecialistConfig(names=("blur",), network=DRUNetConfig(width=32, blocks=(2, 2, 2, 3), patch=2)),
}
"""Fine damage needs little context, what falls or moves more of it, and damage of the light the whole picture.

The mean with the mirror image is worth up to 0.2 dB to fine damage and rain, and nothing to damage of the light.

*blur* is not in the shipped bundle: 25 minutes of training gained it nothing on real pictures (docs/experiments.md).
"""

GLANCE = ClipConfig(
    embed_dim=128,
    vision=VisionConfig(image_size=128, layers=(1, 2, 2, 1), width=24, head_width=64),
    text=TextConfig(width=128, heads=4, layers=2),
    quick_gelu=False,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
"""A CLIP ResNet on native-scale crops of 128 px, and a two-layer text tower over CLIP's own tokens."""

LOOKING = ("detail", "weather")
"""The specialists whose networks the assessor asks beside its ResNet; *light* added nothing."""

CLIP = replace(GLANCE, tower=EvidenceEncoderConfig(branches=tuple(SPECIALISTS[key].network for key in LOOKING)))

AIR = AIRConfig(
    unet=UNetConfig(
        block_channels=(96, 128, 160),
        layers_per_block=1,
        attention=(False, True, True),
        heads=4,
        context_dim=CLIP.text.width,
    ),
    codec=PatchConfig(factor=8),
    prediction="v_prediction",
    residual=True,
    terminal_signal=1e-3,
)
"""9.9 M parameters on 8 x 8 pixel patches: 0.15 s a step for 512 x 512 on two cores."""

SCM = NAFNetConfig(width=24, encoder_blocks=(1, 1, 1, 2), middle_blocks=1, decoder_blocks=(1, 1, 1, 1), patch=2)
"""Small enough to see a few hundred thousand crops in an hour of one core: crops count for more than width."""

LOOP = LoopConfig(
    sampler="ddim", steps=2, end_timestep=800.0, temperature=0.1, max_passes=3, floor=0.35, later_floor=0.8,
    glimpsed=0.3, blackening=0.01, views=9, overview=0.2,
)  # fmt: skip
"""Two steps where the noise is strong, from a start near the mean: nearer to the truth.

What the first look did not glimpse wants to be surer: on held-out photographs with two damages 0.8 is worth 0.4 dB
over 0.65, and 0.65 much over nothing (docs/experiments.md).  A glimpse of 0.2 or of 0.3 is the same there.
"""

FLOORS = {"haze": 0.5, "low-light": 0.5, "rain": 0.5, "raindrop": 0.65}
"""Over the measured ones.

Haze and low light: a clean picture that is taken for one is spoiled, by 20 dB, so no guess is tried.  Rain: 0.5 costs
held-out photographs nothing against 0.65 (docs/experiments.md).  Raindrop: this bundle gains little there yet, so a
doubtful pass is a risk for nothing.
"""
