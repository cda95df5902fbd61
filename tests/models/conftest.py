"""The published tiny networks, rebuilt under our names, and an even smaller AutoDIR of random weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.autodir.air import AIR, AIRConfig, UNetConfig
from models.autodir.assessor import Assessor
from models.autodir.config import AutoDIRConfig, LoopConfig
from models.autodir.latents import PatchConfig
from models.autodir.restorer import AutoDIR
from models.convert.autodir.conversion import plan_autodir
from models.networks.clip import ClipConfig, TextConfig, VisionConfig
from models.networks.drunet import DRUNet, DRUNetConfig
from models.networks.nafnet import NAFNet, NAFNetConfig
from models.safety.envelope import Envelope
from models.training.core.sources import TrainingData
from models.training.data.photos import PhotoPool, decode_into
from models.vocabulary import CLEAN

Converted = tuple[AutoDIRConfig, dict[str, dict[str, Tensor]]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random weights and pictures are those of one seed, so that a test that passes once passes always."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def converted(checkpoint: Callable[[str], dict[str, Tensor]]) -> Converted:
    """The random checkpoint of the vectors through the product's own converter: configuration, tensors by network."""
    config, tensors = plan_autodir(checkpoint(""), torch.float32)
    return config, {network: {tensor.name: tensor.load() for tensor in planned} for network, planned in tensors.items()}


@pytest.fixture(scope="session")
def tiny_clip(converted: Converted) -> ClipConfig:
    """The CLIP of the vectors: two layers a tower, text width 768."""
    return converted[0].clip


@pytest.fixture(scope="session")
def tiny_clip_state(converted: Converted) -> dict[str, Tensor]:
    """Its weights for open_clip."""
    return converted[1]["clip"]


@pytest.fixture(scope="session")
def tiny_air(converted: Converted) -> AIR:
    """The denoiser and autoencoder of the vectors."""
    config, states = converted
    air = AIR(config.air).eval().requires_grad_(False)
    air.load_state_dict(states["air"], strict=True)
    return air


RANDOM = AutoDIRConfig(
    names=("noise", "haze", "low-resolution", CLEAN),
    fidelity={},
    clip=ClipConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=32, layers=1, width=16, patch_size=8, head_width=8),
        text=TextConfig(width=16, heads=2, layers=1),
    ),
    air=AIRConfig(
        unet=UNetConfig(
            block_channels=(16, 16), layers_per_block=1, attention=(False, True), heads=2, context_dim=16, norm_groups=4
        ),
        codec=PatchConfig(factor=4),
        prediction="v_prediction",
    ),
    scm=NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,)),
    loop=LoopConfig(sampler="ddim", steps=3, max_passes=4, views=4, native_px=64 * 64, overlap_px=8),
)
Correct = Callable[[int], NAFNet]


@pytest.fixture(scope="session")
def random_config() -> AutoDIRConfig:
    return RANDOM


@pytest.fixture(scope="session")
def correction() -> Correct:
    """A small correction module with all its branches open, by seed."""

    def build(seed: int) -> NAFNet:
        torch.manual_seed(seed)
        network = NAFNet(RANDOM.scm)
        for name, parameter in network.named_parameters():
            if name.endswith((".beta", ".gamma")):
                torch.nn.init.normal_(parameter, std=0.3)
        return network.eval().requires_grad_(False)

    return build


@pytest.fixture(scope="session")
def random_networks(correction: Correct) -> tuple[Assessor, AIR, NAFNet]:
    torch.manual_seed(1)
    assessor = Assessor(RANDOM.clip, RANDOM.names, most_views=4).eval().requires_grad_(False)
    return assessor, AIR(RANDOM.air).eval().requires_grad_(False), correction(0)


@pytest.fixture
def autodir(random_networks: tuple[Assessor, AIR, NAFNet]) -> Callable[..., AutoDIR]:
    """Builds AutoDIR on random networks; an assessor, a correction, or words of the configuration may be given."""

    def build(*, assessor=None, scm=None, fidelity=None, strength=None, **loop) -> AutoDIR:
        changed = replace(RANDOM, fidelity=fidelity or {}, strength=strength or {}, loop=replace(RANDOM.loop, **loop))
        default_assessor, air, default_scm = random_networks
        model = AutoDIR(changed, assessor or default_assessor, air, scm or default_scm, torch.device("cpu"))
        # Random networks move pixels anywhere, and tests of the loop show them noise
        model.envelope = Envelope(photographs=False, bounds=False, surplus=False)
        return model

    return build


@pytest.fixture(scope="session")
def write() -> Callable[..., NDArray[np.uint8]]:
    """Writes noise of a seed as a picture file and returns its pixels (H, W, 3)."""

    def write(path: Path, seed: int = 0, width: int = 24, height: int = 20) -> NDArray[np.uint8]:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return pixels

    return write


@pytest.fixture(scope="session")
def adding() -> Callable[[DRUNetConfig, float], DRUNet]:
    """Makes a network, of a tonal configuration, that adds one number to every pixel."""

    def make(config: DRUNetConfig, level: float) -> DRUNet:
        network = DRUNet(config)
        torch.nn.init.zeros_(network.tail.weight)
        assert network.tail.bias is not None
        torch.nn.init.constant_(network.tail.bias, level)
        return network.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def pools(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """Two pictures of blobs, 150 px a side: to learn from, and held out."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(2):
        blobs = cv2.resize(rng.random((9, 9, 3)), (150, 150), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index}.png"), (255 * np.clip(blobs, 0, 1)).astype(np.uint8))
    files = decode_into(folder / "cache", sorted(folder.glob("*.png")), 1600)
    return TrainingData(photos=(PhotoPool(files, validation=False), PhotoPool(files, validation=True)))
