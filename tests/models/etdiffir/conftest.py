"""Random checkpoints in the authors' layout, and networks that hold them."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

WEIGHTS = Path(__file__).parents[2] / "parity" / "weights.py"


@pytest.fixture(scope="session")
def weights():
    """The module that rebuilds the random checkpoints."""
    spec = importlib.util.spec_from_file_location("parity_weights", WEIGHTS)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def vectors(shared):
    return shared / "parity" / "daclip"


@pytest.fixture(scope="session")
def keys(vectors):
    """Name -> shape of a checkpoint: "erunet_small", "e_erunet_full", "daclip_small"."""

    def read(name):
        return {
            key: tuple(shape) for key, (shape, _) in json.loads((vectors / f"{name}_keys.json").read_text()).items()
        }

    return read


@pytest.fixture(scope="session")
def erunet_file(weights, keys, tmp_path_factory):
    """The small random U-Net as the authors' code would save it."""
    path = tmp_path_factory.mktemp("erunet") / "random_erunet.pth"
    torch.save({key: weights.daclip_tensor(key, shape) for key, shape in keys("erunet_small").items()}, path)
    return path


@pytest.fixture(scope="session")
def pair(weights, keys, tmp_path_factory):
    """DA-CLIP's file and a U-Net's that fits it: the small one takes 48 numbers and the small DA-CLIP gives 64."""
    folder = tmp_path_factory.mktemp("pair")
    guide = {key: weights.daclip_tensor(key, shape) for key, shape in keys("daclip_small").items()}
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in guide.items()}}, folder / "daclip.pt")
    fitting = {key: tuple(64 if side == 48 else side for side in shape) for key, shape in keys("erunet_small").items()}
    # Tamed: a random network of this depth answers with hundreds, and 2 sampling steps would overflow the picture
    state = {key: weights.daclip_tensor(key, shape) for key, shape in fitting.items()}
    state["final_conv.weight"] *= 1e-3
    torch.save(state, folder / "erunet.pth")
    return folder / "daclip.pt", folder / "erunet.pth"
