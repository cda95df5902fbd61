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
"""The classes of the small assessor, in order: the seven of AutoDIR, JPEG and snow, and "clean" last."""

SPECIALISTS = {
    "detail": SpecialistConfig(
        names=("noise", "jpeg", "low-resolution"),
        network=DRUNetConfig(width=48, blocks=(2, 2, 2), patch=2),
        mirrored=True,
    ),
    "weather": SpecialistConfig(
        names=("rain", "snow", "raindrop"),
        network=DRUNetConfig(width=32, blocks=(2, 2, 2, 3), patch=2),
        mirrored=True,
        turned=True,
    ),
    "light": SpecialistConfig(
        names=("haze", "low-light"), network=DRUNetConfig(width=32, blocks=(1, 1, 2, 2), patch=2, tonal=True, even=True)
    ),
    "blur": SpecialistConfig(names=("blur",), network=DRUNetConfig(width=32, blocks=(2, 2, 2, 3), patch=2)),
}
"""Fine damage needs little context, rain and snow need more, and damage of the light needs the whole picture.

Averaging with the mirror image gains up to 0.2 dB on fine damage and rain, and nothing on damage of the light.
*weather* has learned rain that falls; photographs that are stored sideways are repaired by their quarter turn.

*blur* is not in the shipped bundle: 25 minutes of training gained nothing on real pictures (docs/experiments.md).
"""

GLANCE = ClipConfig(
    embed_dim=128,
    vision=VisionConfig(image_size=128, layers=(1, 2, 2, 1), width=24, head_width=64),
    text=TextConfig(width=128, heads=4, layers=2),
    quick_gelu=False,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
"""A CLIP ResNet on native-scale crops of 128 px, and a two-layer text encoder on the tokens of CLIP."""

ASSESSOR_SPECIALISTS = ("detail", "weather", "light")
"""The specialists whose features the assessor uses beside its ResNet."""

CLIP = replace(
    GLANCE,
    tower=EvidenceEncoderConfig(
        branches=tuple(SPECIALISTS[name].network for name in ASSESSOR_SPECIALISTS),
        turned=tuple(SPECIALISTS[name].turned for name in ASSESSOR_SPECIALISTS),
    ),
)

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
"""Small enough for a few hundred thousand crops an hour on one core: crops count for more than width."""

LOOP = LoopConfig(
    sampler="ddim", steps=2, end_timestep=800.0, temperature=0.1, max_passes=3, floor=0.35, later_floor=0.8,
    glimpsed=0.3, blackening=0.01, views=9, overview=0.2,
)  # fmt: skip
"""Two steps at high noise, from a start near the mean: the smallest error.

Damage that the first assessment did not find needs a higher probability in later passes: on held-out photographs with
two kinds of damage, 0.8 gains 0.4 dB over 0.65, and 0.65 gains much over no such floor (docs/experiments.md).
`glimpsed` 0.2 and 0.3 give the same result there.
"""

FLOORS = {"haze": 0.4, "low-light": 0.6, "rain": 0.45, "raindrop": 0.65}
"""These values replace the measured ones.

Low light: a clean picture that is brightened by mistake loses 20 dB, so uncertain repairs are not tried.
Haze and rain: with the evidence of *light* and of the quarter turn, 0.4 and 0.45 find more real haze and rain than 0.6
and 0.5, at equally many clean pictures that are repaired (docs/decisions/0060).
Raindrop: this bundle gains little there yet, so an uncertain repair is not worth its risk.
"""
