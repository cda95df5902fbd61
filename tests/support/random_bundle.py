"""A bundle of small random networks of the AutoDIR family: it loads in no time, and restores nothing."""

from dataclasses import asdict
from pathlib import Path


def write_random_bundle(folder: Path, names: tuple[str, ...] = ("noise", "haze", "rain", "clean")) -> None:
    """Write the bundle, named autodir-small, into a new folder; it repairs the degradations of these names."""
    import torch

    from models.autodir.air import AIR, AIRConfig, UNetConfig
    from models.autodir.assessor import Assessor, prompt_of
    from models.autodir.config import LoopConfig
    from models.autodir.latents import PatchConfig
    from models.bundle import BundleDegradation, Manifest, write_bundle
    from models.networks.clip import ClipConfig, TextConfig, VisionConfig
    from models.networks.nafnet import NAFNet, NAFNetConfig

    clip = ClipConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=32, layers=1, width=16, patch_size=8, head_width=8),
        text=TextConfig(width=16, heads=2, layers=1),
    )
    unet = UNetConfig(
        block_channels=(16, 16), layers_per_block=1, attention=(False, True), heads=2, context_dim=16, norm_groups=4
    )
    air = AIRConfig(unet=unet, codec=PatchConfig(factor=4), prediction="v_prediction")
    scm = NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,))
    loop = LoopConfig(sampler="ddim", steps=2, max_passes=2, views=4, native_px=256 * 256, overlap_px=16)
    torch.manual_seed(0)
    networks = {"clip": Assessor(clip, names).clip, "air": AIR(air), "scm": NAFNet(scm)}
    manifest = Manifest(
        family="autodir", name="autodir-small", version="0", description="random", license="Apache-2.0",
        degradations=tuple(BundleDegradation(name=name, prompt=prompt_of(name), fidelity=1) for name in names),
        networks={"clip": asdict(clip), "air": asdict(air), "scm": asdict(scm), "loop": asdict(loop)},
        weights={}, files={},
    )  # fmt: skip
    states = {name: network.state_dict() for name, network in networks.items()}
    write_bundle(folder, manifest, states)
