"""Small random checkpoints of ETDiffIR in the layout of the authors' code."""

import pytest
import torch


@pytest.fixture(scope="session")
def erunet_file(weights, daclip_shapes, tmp_path_factory):
    """The file of the small random U-Net, as the authors' code saves it."""
    path = tmp_path_factory.mktemp("erunet") / "random_erunet.pth"
    state = {key: weights.daclip_tensor(key, tuple(shape)) for key, shape in daclip_shapes("erunet_small").items()}
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def checkpoint_files(weights, daclip_shapes, tmp_path_factory):
    """The files of DA-CLIP and of a U-Net whose context width is changed from 48 to DA-CLIP's 64."""
    folder = tmp_path_factory.mktemp("checkpoints")
    daclip = {key: weights.daclip_tensor(key, tuple(shape)) for key, shape in daclip_shapes("daclip_small").items()}
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in daclip.items()}}, folder / "daclip.pt")
    shapes = daclip_shapes("erunet_small")
    fitting = {key: tuple(64 if size == 48 else size for size in shape) for key, shape in shapes.items()}
    # A random network of this depth outputs hundreds, which would saturate the image in two sampling steps
    state = {key: weights.daclip_tensor(key, tuple(shape)) for key, shape in fitting.items()}
    state["final_conv.weight"] *= 1e-3
    torch.save(state, folder / "erunet.pth")
    return folder / "daclip.pt", folder / "erunet.pth"
