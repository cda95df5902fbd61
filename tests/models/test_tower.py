"""The image tower of plain convolutions: what it pools, what it begins as, and how a bundle states it."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file

from models.assessor import Assessor
from models.clip import ClipConfig, TextConfig, VisionConfig, build_clip
from models.drunet import DRUNet, DRUNetConfig, DRUNetEncoder
from models.errors import TrainingError
from models.tower import BranchTower, TowerConfig, pool
from models.training.assessor import begin_as
from models.training.optimizers import is_kernel

FINE, WIDE = DRUNetConfig(width=4, blocks=(1, 1), patch=2), DRUNetConfig(width=6, blocks=(1, 1, 1), patch=2, tonal=True)
TOWER = TowerConfig(branches=(FINE, WIDE), hidden=8)
CLIP = ClipConfig(
    embed_dim=16, vision=VisionConfig(image_size=32), tower=TOWER, text=TextConfig(width=16, heads=2, layers=1),
    quick_gelu=False, mean=(0.5,) * 3, std=(0.5,) * 3,
)  # fmt: skip


def pictures(count=3, side=32, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def specialist(config, seed):
    torch.manual_seed(seed)
    return DRUNet(config).eval().requires_grad_(False)


def saved(folder, *networks):
    paths = [folder / f"{index}.safetensors" for index in range(len(networks))]
    for path, network in zip(paths, networks, strict=True):
        save_file(network.state_dict(), path)
    return paths


def test_pools_mean_spread_and_the_extreme_blocks():
    level = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1)).double()
    mean, spread, largest, smallest = np.split(pool(level).numpy(), 4, axis=1)
    values = level.numpy()
    np.testing.assert_allclose(mean, values.mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(spread, values.std((2, 3)), rtol=1e-4)
    blocks = values.reshape(2, 3, 8, 2, 12, 2).mean((3, 5))
    np.testing.assert_allclose(largest, blocks.max((2, 3)), atol=1e-6)
    np.testing.assert_allclose(smallest, blocks.min((2, 3)), atol=1e-6)


def test_a_silent_channel_leaves_the_slopes_finite():
    level = torch.zeros(2, 3, 16, 16, requires_grad=True)
    pool(level).sum().backward()
    assert level.grad.isfinite().all()


def test_a_drop_in_one_place_is_seen_wherever_it_lies():
    level = torch.zeros(2, 1, 16, 16)
    level[0, 0, 2:4, 2:4] = 1
    level[1, 0, 12:14, 6:8] = 1
    first, second = pool(level)
    assert torch.equal(first, second) and first[2] == 1


@pytest.mark.parametrize("config", [FINE, WIDE])
def test_an_encoder_s_levels_are_those_of_the_network_it_comes_from(config):
    """Heard inside the whole network while it restores."""
    whole = specialist(config, 3)
    heard = []
    for level in (*whole.encoders, whole.body):
        level.register_forward_hook(lambda *said: heard.append(said[-1]))
    whole(pictures())
    encoder = DRUNetEncoder(config)
    encoder.load_state_dict({name: whole.state_dict()[name] for name in encoder.state_dict()})
    for level, expected in zip(encoder.features(pictures()), heard, strict=True):
        assert torch.equal(level, expected)


def test_branches_begin_as_specialists(tmp_path):
    networks = specialist(FINE, 1), specialist(WIDE, 2)
    tower = BranchTower(TOWER, embed_dim=16)
    begin_as(tower, saved(tmp_path, *networks))
    for branch, network in zip(tower.branches, networks, strict=True):
        assert torch.equal(branch.body[0].conv1.weight, network.body[0].conv1.weight)
        assert torch.equal(branch.head.weight, network.head.weight)


@pytest.mark.parametrize("given", [1, 3])
def test_too_few_or_too_many_specialists_are_refused(tmp_path, given):
    paths = saved(tmp_path, *[specialist(FINE, 1)] * given)
    with pytest.raises(TrainingError, match="2 branches"):
        begin_as(BranchTower(TOWER, embed_dim=16), paths)


def test_a_specialist_of_another_size_is_refused_by_name(tmp_path):
    paths = saved(tmp_path, specialist(WIDE, 1), specialist(WIDE, 2))
    with pytest.raises(TrainingError, match=r"0\.safetensors does not fit"):
        begin_as(BranchTower(TOWER, embed_dim=16), paths)


def test_a_missing_specialist_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"none\.safetensors"):
        begin_as(BranchTower(TOWER, embed_dim=16), [tmp_path / "none.safetensors"] * 2)


def test_a_clip_with_such_a_tower_answers_one_view_as_it_answers_many():
    assessor = Assessor(CLIP, ("noise", "clean")).eval()
    views = (pictures() + 1) / 2
    together = assessor.image_features(views)
    assert together.shape == (3, 16)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(assessor.image_features(views[1:2]), together[1:2], atol=1e-5, rtol=1e-4)


def test_the_convolutions_that_face_pixels_are_left_to_adamw():
    assessor = Assessor(CLIP, ("noise", "clean"))
    kernels = {name for name, value in assessor.named_parameters() if is_kernel(name, value, assessor.FACING)}
    assert "clip.visual.branches.1.body.0.conv2.weight" in kernels
    assert not any(name.endswith("head.weight") for name in kernels)


def test_a_manifest_states_the_tower_and_gives_it_back():
    stated = json.loads(json.dumps(asdict(CLIP)))
    read = TypeAdapter(ClipConfig).validate_python(stated)
    assert read == CLIP
    assert build_clip(read).visual.branches[1].config == WIDE
