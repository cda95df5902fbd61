"""The loss of the SCM stage against values computed by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.training.autodir.frozen_air import FrozenAIR
from models.training.autodir.scm_stage import SCMStage, SCMStageConfig, restoration_loss
from models.training.data.share import Draws
from models.vocabulary import CLEAN

NAMES = ("low-light", CLEAN)


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def test_both_restoration_losses_are_those_computed_by_hand():
    restored, target = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    restored[0], restored[1] = 0.5, -0.1
    assert float(restoration_loss(restored, target, "mse")) == pytest.approx((0.25 + 0.01) / 2)
    assert float(restoration_loss(restored, target, "rmse")) == pytest.approx((0.5 + 0.1) / 2, abs=1e-4)


def test_the_stage_compares_the_corrected_estimate_with_the_target(random_config, run, pools, batch, oracle_air):
    """MSE(I_gt, F([I, D(z~)]) + D(z~)) with the estimate of an oracle is the mean square of the correction."""
    examples = batch()
    oracle = oracle_air(replace(random_config.air, prediction="epsilon"), examples["target"])
    torch.manual_seed(0)
    config = SCMStageConfig(network=random_config.scm, timesteps=(100, 100))
    stage = SCMStage(config, run, pools, NAMES, FrozenAIR(oracle, torch.zeros(2, 5, 16)))
    correction = stage.network.correction(examples["degraded"], examples["target"])
    loss = stage.loss(examples, draws())
    torch.testing.assert_close(loss, correction.square().mean(), atol=1e-4, rtol=1e-3)


def test_without_air_the_degraded_picture_replaces_the_estimate(random_config, run, pools, batch):
    stage = SCMStage(SCMStageConfig(network=random_config.scm), run, pools, NAMES, None)
    nn.init.zeros_(stage.network.ending.weight)
    nn.init.zeros_(stage.network.ending.bias)
    examples = batch()
    expected = (examples["degraded"] - examples["target"]).square().mean()
    torch.testing.assert_close(stage.loss(examples, draws()), expected)
