"""The training input of the SCM: one-step estimates by the published formula, and samples like those of the loop."""

import math
from dataclasses import replace

import pytest
import torch
from parity_check import assert_parity

from models.autodir.config import LoopConfig
from models.autodir.samplers import NoiseSchedule
from models.controls import Controls
from models.restorer import Continues, Request
from models.training.autodir.frozen_air import FrozenAIR, amplitudes, draw_timesteps
from models.training.data.share import Draws

LOOPS = [
    LoopConfig(sampler="ddim", steps=3),
    LoopConfig(sampler="ddim", steps=3, end_timestep=800.0, temperature=0.1),
    LoopConfig(sampler="euler-ancestral", steps=3),
]


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def test_amplitudes_are_those_of_the_published_schedule(kept):
    signal, spread = amplitudes(NoiseSchedule(), torch.tensor([0, 500, 999]))
    assert signal.shape == (3, 1, 1, 1)
    for index, timestep in enumerate((0, 500, 999)):
        assert float(signal[index]) == pytest.approx(math.sqrt(kept(timestep)), rel=1e-5)
        assert float(spread[index]) == pytest.approx(math.sqrt(1 - kept(timestep)), rel=1e-4)


def test_timesteps_are_integers_uniform_and_include_both_ends():
    drawn = draw_timesteps(20_000, 0, 9, draws())
    assert drawn.dtype == torch.int64
    shares = torch.bincount(drawn, minlength=10) / 20_000
    assert (shares - 0.1).abs().max() < 0.01


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("timestep", [0, 400, 999])
def test_the_one_step_estimate_of_an_oracle_is_the_clean_picture(
    random_config, batch, oracle_air, prediction, timestep
):
    examples = batch()
    oracle = oracle_air(replace(random_config.air, prediction=prediction), examples["target"])
    estimate = FrozenAIR(oracle, torch.zeros(2, 5, 16)).one_step_estimate(examples, (timestep, timestep), draws())
    assert_parity(estimate, examples["target"], of_range=2e-4)  # divides by sqrt(a), 0.07 at the last timestep


def test_the_estimate_is_the_published_formula(random_config, batch, zero_air, kept):
    """z~ = z_t / sqrt(a) - sqrt(1 - a) eps / sqrt(a); a network that answers eps = 0 leaves z_t / sqrt(a)."""
    air, examples = zero_air(replace(random_config.air, prediction="epsilon")), batch(target=0.0)
    estimate = FrozenAIR(air, torch.zeros(2, 5, 16)).one_step_estimate(examples, (400, 400), draws())
    expected = air.decode(air.inputs[0] / math.sqrt(kept(400))).clamp(-1, 1)
    assert_parity(estimate, expected)


@pytest.fixture(scope="module")
def frozen_air(random_networks):
    assessor, air, _ = random_networks
    with torch.no_grad():
        contexts = assessor.user_states(["denoise", "defog it", "upscale"])
    return FrozenAIR(air, contexts)


def pictures(count=3, side=32, seed=0):
    degraded, target = torch.rand(2, count, 3, side, side, generator=draws(seed).generator) * 2 - 1
    return {"degraded": degraded, "target": target, "clean": target, "label": torch.arange(count) % 3}


@pytest.mark.parametrize("loop", LOOPS)
class TestASample:
    def test_does_not_read_the_target(self, frozen_air, loop):
        examples = pictures()
        without_target = {"degraded": examples["degraded"], "label": examples["label"]}
        wrong_target = {**examples, "target": -examples["target"], "clean": torch.zeros_like(examples["clean"])}
        found = [frozen_air.sample(batch, loop, draws()) for batch in (examples, without_target, wrong_target)]
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])

    def test_is_a_function_of_the_seed(self, frozen_air, loop):
        first, again, other = (frozen_air.sample(pictures(), loop, draws(seed)) for seed in (7, 7, 8))
        assert torch.equal(first, again)
        assert not torch.allclose(first, other, atol=1e-3)

    def test_does_not_depend_on_other_images_of_the_batch(self, frozen_air, loop):
        examples = pictures()
        others = {"degraded": examples["degraded"].clone(), "label": examples["label"].clone()}
        others["degraded"][[0, 2]] = -1.0
        others["label"][[0, 2]] = 1
        before, after = (frozen_air.sample(batch, loop, draws()) for batch in (examples, others))
        assert_parity(after[1], before[1])
        assert not torch.allclose(after[0], before[0], atol=1e-3)

    def test_depends_on_the_picture_and_on_the_degradation(self, frozen_air, loop):
        examples = pictures()
        found = frozen_air.sample(examples, loop, draws())
        for changed in ({"degraded": examples["degraded"] * 0.5}, {"label": (examples["label"] + 1) % 3}):
            assert not torch.allclose(frozen_air.sample({**examples, **changed}, loop, draws()), found, atol=1e-5)

    def test_is_a_picture_of_the_same_size_in_range(self, frozen_air, loop):
        found = frozen_air.sample(pictures(side=48), loop, draws())
        assert found.shape == (3, 3, 48, 48)
        assert found.abs().max() <= 1
        assert not found.requires_grad

    def test_equals_the_input_of_the_correction_in_the_loop(self, frozen_air, loop, autodir, random_networks):
        """The correction is trained on the pictures that it gets in the loop."""
        degraded, seed = pictures(1)["degraded"], 11
        inputs = []

        def correction(image, diffused, fidelity):
            inputs.append(diffused)
            return diffused

        settings = {"sampler": loop.sampler, "steps": loop.steps, "end_timestep": loop.end_timestep}
        restorer = autodir(scm=correction, temperature=loop.temperature, **settings)
        request = Request(image=degraded[0], controls=Controls(prompt="defog it", seed=seed))
        (continues,) = restorer.begin([request])
        assert isinstance(continues, Continues)
        for _ in range(loop.steps):
            restorer.step(continues.tracks)
        restorer.finish(continues.tracks)
        sampled = frozen_air.sample({"degraded": degraded, "label": torch.tensor([1])}, loop, draws(seed))
        assert_parity(sampled, inputs[0])
