"""The evidence encoder: its features, its initial weights, and its configuration in a bundle."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from parity_check import assert_parity
from pydantic import TypeAdapter
from safetensors.torch import save_file

from models.autodir.assessor import Assessor
from models.errors import TrainingError
from models.networks.clip import ClipConfig, TextConfig, VisionConfig, build_clip
from models.networks.drunet import DRUNet, DRUNetConfig
from models.networks.evidence_encoder import EvidenceEncoder, EvidenceEncoderConfig, change, pool
from models.training.autodir.assessor_stage import load_trained_encoders
from models.training.core.optimizers import is_kernel

FINE, WIDE = DRUNetConfig(width=4, blocks=(1, 1), patch=2), DRUNetConfig(width=6, blocks=(1, 1, 1), patch=2, tonal=True)
TOWER = EvidenceEncoderConfig(branches=(FINE, WIDE), hidden=8)
GLANCE = ClipConfig(
    embed_dim=16, vision=VisionConfig(image_size=32, layers=(1, 1, 1, 1), width=8, head_width=32),
    text=TextConfig(width=16, heads=2, layers=1), quick_gelu=False, mean=(0.5,) * 3, std=(0.25,) * 3,
)  # fmt: skip
CLIP = replace(GLANCE, tower=TOWER)
NAMES = ("noise", "clean")


def pictures(count=3, side=32, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def specialist(config, seed):
    torch.manual_seed(seed)
    return DRUNet(config).eval().requires_grad_(False)


def test_pooling_gives_mean_deviation_and_extreme_blocks():
    level = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1)).double()
    mean, spread, largest, smallest = np.split(pool(level).numpy(), 4, axis=1)
    values = level.numpy()
    np.testing.assert_allclose(mean, values.mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(spread, values.std((2, 3)), rtol=1e-4)
    blocks = values.reshape(2, 3, 8, 2, 12, 2).mean((3, 5))
    np.testing.assert_allclose(largest, blocks.max((2, 3)), atol=1e-6)
    np.testing.assert_allclose(smallest, blocks.min((2, 3)), atol=1e-6)


def test_a_constant_channel_has_finite_gradients():
    level = torch.zeros(2, 3, 16, 16, requires_grad=True)
    pool(level).sum().backward()
    assert level.grad.isfinite().all()


def test_a_drop_gives_the_same_features_anywhere():
    level = torch.zeros(2, 1, 16, 16)
    level[0, 0, 2:4, 2:4] = 1
    level[1, 0, 12:14, 6:8] = 1
    first, second = pool(level)
    assert torch.equal(first, second) and first[2] == 1


@pytest.mark.parametrize("config", [FINE, WIDE])
def test_the_levels_of_a_network_are_recorded_while_it_restores(config):
    network, heard = specialist(config, 3), []
    for level in (*network.encoders, network.body, network.decoders[-1]):
        level.register_forward_hook(lambda *said: heard.append(said[-1]))
    levels = []
    restored = network(pictures(), levels)
    assert torch.equal(restored, network(pictures()))
    for level, expected in zip(levels, heard, strict=False):
        assert torch.equal(level, expected)
    assert len(levels) == len(config.blocks) + 1


def test_changes_are_logarithms_of_levels():
    before = torch.zeros(2, 3, 64, 64)
    noise = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    after = torch.stack([torch.full((3, 64, 64), 10 / 127.5), noise * 4 / 127.5])
    size, shift, low, middle, high = change(before, after).exp().sub(0.05).T
    assert size[0] == pytest.approx(10, rel=1e-3) and shift[0] == pytest.approx(10, rel=1e-3)
    assert middle[0] == pytest.approx(0, abs=0.01), "an even change has no spread"
    assert size[1] == pytest.approx(4 * (2 / torch.pi) ** 0.5, rel=0.03) and shift[1] < 0.2
    assert 3.6 < low[1] < middle[1] < high[1] < 4.4


def test_a_restoration_network_gets_the_picture_and_not_its_normalized_form():
    tower = EvidenceEncoder(TOWER, torch.nn.Identity(), 16, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    asked = []
    tower.branches[0].register_forward_hook(lambda _, said, out: asked.append(said[0]))
    tower.own = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 16))
    mean, std = (torch.tensor(value)[:, None, None] for value in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    tower.eval()(((pictures() + 1) / 2 - mean) / std)
    assert_parity(asked[0], pictures())


def test_a_branch_with_a_direction_also_sees_the_quarter_turn():
    torch.manual_seed(6)
    upright = EvidenceEncoder(TOWER, torch.nn.Flatten(), 16, (0.5,) * 3, (0.5,) * 3).eval()
    both = EvidenceEncoder(replace(TOWER, turned=(True, False)), torch.nn.Flatten(), 16, (0.5,) * 3, (0.5,) * 3).eval()
    both.branches.load_state_dict(upright.branches.state_dict())
    views, side = pictures(), 16 * 3 * 32 * 32 // 16  # Flatten passes the picture itself through
    fine = 4 * 4 * 2**2 + 5  # mean, deviation and two extremes of 4 + 4 + 8 channels, and five figures of the change
    wide = 4 * 6 * 2**3 + 5
    found, turned, known = (
        tower.evidence(x) for tower, x in ((both, views), (upright, views.rot90(1, (2, 3))), (upright, views))
    )
    assert known.shape[1] == side + fine + wide and found.shape[1] == side + 2 * fine + wide
    assert both.norm.num_features == 16 + 2 * fine + wide
    own, first, second, last = found.split([side, fine, fine, wide], dim=1)
    assert_parity(torch.cat([own, first, last], dim=1), known)
    assert_parity(second, turned[:, side : side + fine])


def glance(folder):
    path = folder / "glance.safetensors"
    torch.manual_seed(5)
    network = Assessor(GLANCE, NAMES)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return path, network


def test_the_encoder_starts_from_trained_weights(tmp_path):
    networks = specialist(FINE, 1), specialist(WIDE, 2)
    path, known = glance(tmp_path)
    assessor = Assessor(CLIP, NAMES)
    load_trained_encoders(assessor, path, networks)
    tower = assessor.clip.visual
    views = pictures()
    for branch, network in zip(tower.branches, networks, strict=True):
        assert torch.equal(branch.eval()(views), network(views))
    assert torch.equal(tower.own.eval()(views), known.clip.visual.eval()(views))


def test_training_does_not_change_the_specialists_of_the_initial_weights(tmp_path):
    networks = specialist(FINE, 1), specialist(WIDE, 2)
    assessor = Assessor(CLIP, NAMES)
    load_trained_encoders(assessor, glance(tmp_path)[0], networks)
    with torch.no_grad():
        assessor.clip.visual.branches[0].head.weight.add_(1)
    assert torch.equal(networks[0].head.weight, specialist(FINE, 1).head.weight)


def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path):
    networks = specialist(FINE, 1), specialist(WIDE, 2)
    other = tmp_path / "detail.safetensors"
    save_file(networks[0].state_dict(), other)
    for path, problem in (
        (tmp_path / "none.safetensors", r"cannot read .*none\.s"),
        (other, r"detail\.\w+ does not fit"),
    ):
        with pytest.raises(TrainingError, match=problem):
            load_trained_encoders(Assessor(CLIP, NAMES), path, networks)


def test_the_result_of_a_view_does_not_depend_on_its_batch():
    assessor = Assessor(CLIP, NAMES).eval()
    views = (pictures() + 1) / 2
    together = assessor.image_features(views)
    assert together.shape == (3, 16)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(3))
    assert_parity(assessor.image_features(views[1:2]), together[1:2])


def test_adamw_trains_the_layers_that_read_or_write_pixels():
    assessor = Assessor(CLIP, NAMES)
    kernels = {name for name, value in assessor.named_parameters() if is_kernel(name, value, assessor.PIXEL_LAYERS)}
    assert "clip.visual.branches.1.body.0.conv2.weight" in kernels
    assert "clip.visual.own.layer1.0.conv2.weight" in kernels
    facing = ("head.weight", "tail.weight", "visual.own.conv1.weight")
    assert not any(name.endswith(facing) for name in kernels)


def test_a_manifest_stores_the_configuration():
    stated = json.loads(json.dumps(asdict(CLIP)))
    read = TypeAdapter(ClipConfig).validate_python(stated)
    assert read == CLIP
    assert build_clip(read).visual.branches[1].config == WIDE


def test_a_manifest_of_an_earlier_version_names_no_turns():
    stated = json.loads(json.dumps(asdict(CLIP)))
    del stated["tower"]["turned"]
    assert TypeAdapter(ClipConfig).validate_python(stated).tower.looks == ((0, 0), (1, 0))
