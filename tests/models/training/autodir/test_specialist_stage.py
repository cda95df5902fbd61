"""The training input of a specialist: damage, and pictures that other specialists or itself have repaired."""

import pytest
import torch
from torch import nn

from models.autodir.specialists import SpecialistConfig, Specialists
from models.errors import TrainingError
from models.networks.drunet import DRUNetConfig
from models.training.autodir.specialist_stage import SpecialistStage, SpecialistStageConfig
from models.training.core.run_config import RunConfig
from models.training.data.degradations import Mixture
from models.training.data.photos import CropConfig
from models.training.data.share import Draws
from models.vocabulary import CLEAN

TINY = DRUNetConfig(width=4, blocks=(1, 1), patch=2, tonal=True)
HAZE, CLEAR, NOISE = range(3)


@pytest.fixture
def others(adding):
    return Specialists({"detail": SpecialistConfig(names=("noise",), network=TINY)}, {"detail": adding(TINY, 0.25)})


@pytest.fixture
def build(pools, tmp_path):
    def make(others=None, share=0.0, second=("noise",)):
        mixture = Mixture(weights={"haze": 1.0, CLEAN: 1.0}, two_kinds=0.5, second_weights=dict.fromkeys(second, 1.0))
        run = RunConfig(images=(), out=tmp_path, crop=CropConfig(crop_px=32), mixture=mixture, batch=3, loaders=0)
        config = SpecialistStageConfig(names=("haze",), network=TINY, self_repaired_share=share)
        return SpecialistStage(config, run, pools, others)

    return make


class Recorder(nn.Module):
    """Adds `level` and remembers its inputs."""

    def __init__(self, level=0.0):
        super().__init__()
        self.level, self.inputs = level, []

    def forward(self, x):
        self.inputs.append(x.clone())
        return x + self.level


def flat(*levels):
    return torch.tensor(levels)[:, None, None, None].expand(-1, 3, 8, 8).clone()


def batch():
    """Haze; a clean picture; noise on haze.  The pictures are flat, so every mean is the level."""
    return {
        "degraded": flat(0.5, -0.5, 0.1),
        "target": flat(0.0, -0.5, 0.3),
        "clean": flat(0.0, -0.5, -0.2),
        "labels": torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0, 0.5]]),
        "label": torch.tensor([HAZE, CLEAR, NOISE]),
    }


def draws():
    return Draws(torch.Generator().manual_seed(0))


def test_others_repair_their_later_damage_and_the_target_is_then_clean(build, others):
    stage = build(others)
    stage.network = Recorder()
    loss = stage.loss(batch(), draws())
    torch.testing.assert_close(stage.network.inputs[0], flat(0.5, -0.5, 0.35))
    errors = [0.5, 0.0, 0.35 + 0.2]
    assert float(loss) == pytest.approx(sum((error**2 + 1e-6) ** 0.5 for error in errors) / 3, rel=1e-5)


def test_a_share_of_the_pictures_is_repaired_by_the_network_itself(build, others):
    stage = build(others, share=1.0)
    stage.network = Recorder(-0.1)
    stage.loss(batch(), draws())
    first, second = stage.network.inputs
    torch.testing.assert_close(second, first - 0.1)
    stage.config = SpecialistStageConfig(names=("haze",), network=TINY)
    stage.network = Recorder(-0.1)
    stage.loss(batch(), draws())
    assert len(stage.network.inputs) == 1


def test_earlier_repairs_have_no_gradient(build, others):
    stage = build(others, share=1.0)
    seen = []
    stage.network.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output.requires_grad)))
    stage.loss(batch(), draws()).backward()
    assert [wants for _, wants in seen] == [False, True] and not seen[1][0].requires_grad


def test_a_second_kind_without_a_specialist_is_refused(build, others):
    with pytest.raises(TrainingError, match="got no --specialist NAME=FILE for noise"):
        build()
    with pytest.raises(TrainingError, match="for rain"):
        build(others, second=("noise", "rain"))


def test_the_input_does_not_change(build, others):
    given, stage = batch(), build(others, share=1.0)
    stage.network = Recorder(1.0)
    stage.loss(given, draws())
    assert torch.equal(given["degraded"], batch()["degraded"])
