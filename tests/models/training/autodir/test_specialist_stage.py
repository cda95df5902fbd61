"""What a specialist is shown in training: damage, what another specialist left of it, and what itself left."""

import pytest
import torch
from torch import nn

from models.autodir.specialists import SpecialistConfig, Specialists
from models.errors import TrainingError
from models.networks.drunet import DRUNetConfig
from models.training.autodir.specialist_stage import SpecialistStage, SpecialistStageConfig
from models.training.core.config import RunConfig
from models.training.data.degradations import Mixture
from models.training.data.photos import CropConfig
from models.vocabulary import CLEAN

TINY = DRUNetConfig(width=4, blocks=(1, 1), patch=2, tonal=True)
HAZE, CLEAR, NOISE = range(3)


@pytest.fixture
def others(adding):
    return Specialists({"detail": SpecialistConfig(names=("noise",), network=TINY)}, {"detail": adding(TINY, 0.25)})


@pytest.fixture
def build(pools, tmp_path):
    def make(others=None, again=0.0, beside=("noise",)):
        mixture = Mixture(weights={"haze": 1.0, CLEAN: 1.0}, two=0.5, beside=dict.fromkeys(beside, 1.0))
        run = RunConfig(images=(), out=tmp_path, crop=CropConfig(crop_px=32), mixture=mixture, batch=3, loaders=0)
        config = SpecialistStageConfig(names=("haze",), network=TINY, again=again)
        return SpecialistStage(config, run, pools, others)

    return make


class Seen(nn.Module):
    """Adds `level` and remembers what it saw."""

    def __init__(self, level=0.0):
        super().__init__()
        self.level, self.inputs = level, []

    def forward(self, x):
        self.inputs.append(x.clone())
        return x + self.level


def flat(*levels):
    return torch.tensor(levels)[:, None, None, None].expand(-1, 3, 8, 8).clone()


def batch():
    """Haze alone; a clear picture; and noise upon haze.  Flat, so that every mean is its level."""
    return {
        "degraded": flat(0.5, -0.5, 0.1),
        "target": flat(0.0, -0.5, 0.3),
        "clean": flat(0.0, -0.5, -0.2),
        "labels": torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0, 0.5]]),
        "label": torch.tensor([HAZE, CLEAR, NOISE]),
    }


def generator():
    return torch.Generator().manual_seed(0)


def test_what_came_last_and_is_anothers_has_been_repaired_and_the_rest_is_to_be_clean(build, others):
    stage = build(others)
    stage.network = Seen()
    loss = stage.loss(batch(), generator())
    torch.testing.assert_close(stage.network.inputs[0], flat(0.5, -0.5, 0.35))
    errors = [0.5, 0.0, 0.35 + 0.2]
    assert float(loss) == pytest.approx(sum((error**2 + 1e-6) ** 0.5 for error in errors) / 3, rel=1e-5)


def test_a_share_is_shown_as_the_network_itself_left_it(build, others):
    stage = build(others, again=1.0)
    stage.network = Seen(-0.1)
    stage.loss(batch(), generator())
    first, second = stage.network.inputs
    torch.testing.assert_close(second, first - 0.1)
    stage.config = SpecialistStageConfig(names=("haze",), network=TINY)
    stage.network = Seen(-0.1)
    stage.loss(batch(), generator())
    assert len(stage.network.inputs) == 1


def test_no_gradient_runs_through_what_came_before(build, others):
    stage = build(others, again=1.0)
    seen = []
    stage.network.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output.requires_grad)))
    stage.loss(batch(), generator()).backward()
    assert [wants for _, wants in seen] == [False, True] and not seen[1][0].requires_grad


def test_a_second_kind_that_nobody_repairs_is_refused(build, others):
    with pytest.raises(TrainingError, match="got no --specialist NAME=FILE for noise"):
        build()
    with pytest.raises(TrainingError, match="for rain"):
        build(others, beside=("noise", "rain"))


def test_the_batch_that_came_in_is_not_changed(build, others):
    given, stage = batch(), build(others, again=1.0)
    stage.network = Seen(1.0)
    stage.loss(given, generator())
    assert torch.equal(given["degraded"], batch()["degraded"])
