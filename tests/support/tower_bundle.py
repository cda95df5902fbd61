"""A tiny AutoDIR bundle of random networks whose assessor looks through copies of two specialists."""

from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from models.autodir.air import AIR, AIRConfig, UNetConfig
from models.autodir.assessor import Assessor, prompt_of
from models.autodir.config import LoopConfig
from models.autodir.latents import PatchConfig
from models.bundle import BundleDegradation, Manifest
from models.networks.clip import ClipConfig, TextConfig, VisionConfig
from models.networks.drunet import DRUNet, DRUNetConfig
from models.networks.evidence_encoder import EvidenceEncoderConfig
from models.networks.nafnet import NAFNet, NAFNetConfig

NAMES = ("noise", "rain", "haze", "clean")
FINE, WIDE = DRUNetConfig(width=4, blocks=(1, 1), patch=2), DRUNetConfig(width=4, blocks=(1, 1, 1), patch=2)
CLIP = ClipConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=64, layers=(1, 1, 1, 1), width=4, head_width=16),
    tower=EvidenceEncoderConfig(branches=(FINE, WIDE), hidden=8),
    text=TextConfig(width=16, heads=2, layers=1),
)


def tower_bundle() -> tuple[Manifest, dict[str, Mapping[str, Tensor]]]:
    """Returns the manifest, and the tensors of each part: branch 0 equals *detail*, branch 1 does not equal *weather*.

    All values fit half precision.
    """
    torch.manual_seed(0)
    unet = UNetConfig(
        block_channels=(16, 16), layers_per_block=1, attention=(False, True), heads=2, context_dim=16, norm_groups=4
    )
    air = AIRConfig(unet=unet, codec=PatchConfig(factor=4), prediction="v_prediction")
    scm = NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,))
    loop = LoopConfig(sampler="ddim", steps=2, max_passes=2, views=4, native_px=256 * 256, overlap_px=16)
    clip, detail, weather = Assessor(CLIP, NAMES).clip, DRUNet(FINE), DRUNet(WIDE)
    clip.get_submodule("visual.branches.0").load_state_dict(detail.state_dict())
    parts = {
        "clip": clip, "air": AIR(air), "scm": NAFNet(scm), "specialist-detail": detail, "specialist-weather": weather,
    }  # fmt: skip
    manifest = Manifest(
        family="autodir", name="tower", version="1", description="random", license="Apache-2.0",
        degradations=tuple(BundleDegradation(name=name, prompt=prompt_of(name), fidelity=1) for name in NAMES),
        networks={
            "clip": asdict(CLIP), "air": asdict(air), "scm": asdict(scm), "loop": asdict(loop),
            "specialists": {
                "detail": {"names": ("noise",), "network": asdict(FINE)},
                "weather": {"names": ("rain",), "network": asdict(WIDE)},
            },
        },
        weights={}, files={},
    )  # fmt: skip
    return manifest, {name: network.half().float().state_dict() for name, network in parts.items()}
