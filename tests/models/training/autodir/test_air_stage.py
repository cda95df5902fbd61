"""The loss of AIR against values computed by hand."""

import math
from dataclasses import replace

import pytest
import torch

from models.training.autodir.air_stage import (
    AIRStage,
    AIRStageConfig,
    Contexts,
    denoising_target,
    dropped_conditions,
)
from models.training.data.share import Draws
from models.vocabulary import CLEAN

NAMES = ("low-light", CLEAN)


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def value(loss):
    return float(loss.detach())


@pytest.fixture
def build(random_config, run, pools, zero_air):
    """Builds the stage on a denoiser that answers zero."""

    def make(prediction="epsilon", **settings):
        network = replace(random_config.air, prediction=prediction)
        contexts = Contexts(
            prompts=torch.stack([torch.full((5, 16), float(k + 1)) for k in range(2)]),
            null=torch.full((5, 16), -7.0),
            phrasings=torch.stack([torch.full((3, 5, 16), 10.0 * (k + 1)) for k in range(2)]),
        )
        stage = AIRStage(AIRStageConfig(network=network, **settings), run, pools, NAMES, contexts)
        stage.network = zero_air(network)
        return stage

    return make


def test_the_target_is_eps_or_v():
    z, noise, signal, spread = torch.tensor([2.0]), torch.tensor([3.0]), torch.tensor([0.8]), torch.tensor([0.6])
    assert float(denoising_target("epsilon", z, noise, signal, spread)) == 3.0
    assert float(denoising_target("v_prediction", z, noise, signal, spread)) == pytest.approx(0.8 * 3 - 0.6 * 2)


def test_a_tenth_loses_its_text_a_tenth_its_image_and_a_twentieth_both():
    text, image = dropped_conditions((torch.arange(10_000) + 0.5) / 10_000, AIRStageConfig())
    assert (text & image).float().mean() == pytest.approx(0.05)
    assert (text & ~image).float().mean() == pytest.approx(0.10)
    assert (image & ~text).float().mean() == pytest.approx(0.10)


def test_the_loss_of_a_zero_answer_is_the_variance_of_the_noise(build, batch):
    """E |eps|^2 = 1, whatever the timestep and the picture."""
    stage = build()
    assert value(stage.loss(batch(64), draws())) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("timestep", [0, 300, 999])
def test_v_of_a_gray_picture_is_the_noise_times_the_signal_amplitude(build, batch, kept, timestep):
    """z = 0, so v = sqrt(a) eps and E |v|^2 = a."""
    stage = build("v_prediction", timesteps=(timestep, timestep))
    assert value(stage.loss(batch(64, target=0.0), draws())) == pytest.approx(kept(timestep), rel=0.04)


def test_v_of_a_flat_picture_at_the_last_timestep_is_the_picture(build, batch, kept):
    """z = scale, so E |v|^2 = a + (1 - a) scale^2."""
    stage = build("v_prediction", timesteps=(999, 999))
    scale, a = stage.network.scale, kept(999)
    found = value(stage.loss(batch(64, target=1.0), draws()))
    assert found == pytest.approx(a + (1 - a) * scale**2, rel=0.01)


def test_the_inputs_are_the_noised_target_and_the_unscaled_degraded_picture(build, batch, kept):
    stage = build(timesteps=(0, 0), drop_image=0.0, drop_both=0.0)
    examples = batch(8)
    stage.loss(examples, draws())
    z_t, z_image, timesteps, _ = stage.network.inputs
    assert torch.equal(z_image, stage.network.encode(examples["degraded"]))
    clean = stage.network.encode(examples["target"]) * stage.network.scale
    noise = (z_t - math.sqrt(kept(0)) * clean) / math.sqrt(1 - kept(0))
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert timesteps.tolist() == [0] * 8


def test_a_dropped_text_becomes_the_null_prompt_and_a_dropped_image_zeros(build, batch):
    stage = build(drop_text=0.3, drop_image=0.3, drop_both=0.2)
    stage.loss(batch(400, side=8), draws())
    _, z_image, _, context = stage.network.inputs
    without_text = (context == -7).flatten(1).all(dim=1)
    without_image = (z_image == 0).flatten(1).all(dim=1)
    assert float(without_text.float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float(without_image.float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float((without_text & without_image).float().mean()) == pytest.approx(0.2, abs=0.06)


def test_the_condition_is_the_class_prompt_or_a_phrasing_of_the_true_degradation(build, batch):
    stage = build(drop_text=0.0, drop_both=0.0)
    examples = batch(64, side=8)
    stage.loss(examples, draws())
    conditions = stage.network.inputs[3][:, 0, 0]
    for condition, label in zip(conditions.tolist(), examples["label"].tolist(), strict=True):
        assert condition in (label + 1.0, 10.0 * (label + 1))
    assert 0.3 < float((conditions < 5).float().mean()) < 0.7
