"""A tiny bundle with random networks, and pairs of a damage that it does not know: light stripes."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from models.autodir.air import AIR
from models.autodir.assessor import Assessor, prompt_of
from models.autodir.config import AutoDIRConfig
from models.bundle import BundleDegradation, Manifest, write_bundle
from models.networks.clip import ClipConfig
from models.networks.drunet import DRUNet, DRUNetConfig
from models.networks.evidence_encoder import EvidenceEncoderConfig
from models.networks.nafnet import NAFNet
from models.training.core.slimming import slimmed
from models.vocabulary import CLEAN

NAMES = ("noise", "low-light", CLEAN)
NETWORK = DRUNetConfig(width=4, blocks=(1, 1), patch=2)


@pytest.fixture(scope="session")
def tower_config(random_config: AutoDIRConfig) -> ClipConfig:
    """A tiny CLIP whose image encoder gathers evidence from one restorer."""
    return replace(random_config.clip, tower=EvidenceEncoderConfig(branches=(NETWORK,), hidden=64))


@pytest.fixture(scope="session")
def tiny_bundle(
    random_config: AutoDIRConfig, tower_config: ClipConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle with random networks and one specialist, which the assessor asks, too; as small as shipped ones."""
    torch.manual_seed(0)
    assessor = Assessor(tower_config, NAMES)
    networks = {
        "clip": assessor.clip, "air": AIR(random_config.air), "scm": NAFNet(random_config.scm),
        "specialist-detail": DRUNet(NETWORK),
    }  # fmt: skip
    networks["specialist-detail"].load_state_dict(assessor.clip.get_submodule("visual.branches.0").state_dict())
    manifest = Manifest(
        family="autodir", name="tiny", version="1", description="Random.", license="none",
        degradations=tuple(BundleDegradation(name=name, prompt=prompt_of(name), fidelity=1.0) for name in NAMES),
        networks={
            "clip": asdict(tower_config), "air": asdict(random_config.air), "scm": asdict(random_config.scm),
            "specialists": {"detail": {"names": ("noise",), "network": asdict(NETWORK)}},
            "loop": asdict(replace(random_config.loop, steps=1, native_px=2**20)),
        },
        weights={}, files={},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    smaller = slimmed(manifest, {name: network.state_dict() for name, network in networks.items()})
    assert len(smaller.notes) == 3, "tokens, the branch, and 8 bits"
    write_bundle(folder, smaller.manifest, smaller.networks)
    return folder


@pytest.fixture(scope="session")
def write_pairs() -> Callable[[Path, int], Path]:
    """Writes pairs of 72 x 64 px into lq and gt."""

    def write(folder: Path, count: int) -> Path:
        rng = np.random.default_rng(0)
        for index in range(count):
            soft = cv2.resize(rng.random((8, 9, 3)), (72, 64), interpolation=cv2.INTER_CUBIC).clip(0, 1)
            damaged = soft.copy()
            damaged[::2] = np.clip(damaged[::2] + 0.15, 0, 1)
            for part, picture in (("lq", damaged), ("gt", soft)):
                (folder / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray((255 * picture).astype(np.uint8)).save(folder / part / f"{index}.png")
        return folder

    return write


@pytest.fixture(scope="session")
def own(write_pairs: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs with light stripes."""
    return write_pairs(tmp_path_factory.mktemp("own"), 8)
