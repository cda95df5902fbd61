"""`FrozenAIR.sample`, the correction's training input: the loop's own result, made without a look at the truth."""

import pytest
import torch

from models.autodir.config import LoopConfig
from models.restorer import Continues, Controls, Request
from models.training.autodir.frozen_air import FrozenAIR

LOOPS = [
    LoopConfig(sampler="ddim", steps=3),
    LoopConfig(sampler="ddim", steps=3, end_timestep=800.0, temperature=0.1),
    LoopConfig(sampler="euler-ancestral", steps=3),
]


@pytest.fixture(scope="module")
def estimator(random_networks):
    assessor, air, _ = random_networks
    with torch.no_grad():
        contexts = assessor.user_states(["denoise", "defog it", "upscale"])
    return FrozenAIR(air, contexts)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=3, side=32, seed=0):
    degraded, target = torch.rand(2, count, 3, side, side, generator=generator(seed)) * 2 - 1
    return {"degraded": degraded, "target": target, "clean": target, "label": torch.arange(count) % 3}


@pytest.mark.parametrize("loop", LOOPS)
class TestASample:
    def test_does_not_look_at_the_truth(self, estimator, loop):
        examples = batch()
        blind = {"degraded": examples["degraded"], "label": examples["label"]}
        lied_to = {**examples, "target": -examples["target"], "clean": torch.zeros_like(examples["clean"])}
        found = [estimator.sample(seen, loop, generator()) for seen in (examples, blind, lied_to)]
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])

    def test_is_a_function_of_the_generators_seed(self, estimator, loop):
        first, again, other = (estimator.sample(batch(), loop, generator(seed)) for seed in (7, 7, 8))
        assert torch.equal(first, again)
        assert not torch.allclose(first, other, atol=1e-3)

    def test_of_an_image_does_not_feel_its_neighbors(self, estimator, loop):
        examples = batch()
        others = {"degraded": examples["degraded"].clone(), "label": examples["label"].clone()}
        others["degraded"][[0, 2]] = -1.0
        others["label"][[0, 2]] = 1
        before, after = (estimator.sample(seen, loop, generator()) for seen in (examples, others))
        torch.testing.assert_close(after[1], before[1], atol=1e-5, rtol=0)
        assert not torch.allclose(after[0], before[0], atol=1e-3)

    def test_depends_on_the_picture_and_on_what_is_to_be_repaired(self, estimator, loop):
        examples = batch()
        found = estimator.sample(examples, loop, generator())
        for changed in ({"degraded": examples["degraded"] * 0.5}, {"label": (examples["label"] + 1) % 3}):
            assert not torch.allclose(estimator.sample({**examples, **changed}, loop, generator()), found, atol=1e-5)

    def test_is_a_picture_of_the_same_size_in_range(self, estimator, loop):
        found = estimator.sample(batch(side=48), loop, generator())
        assert found.shape == (3, 3, 48, 48)
        assert found.abs().max() <= 1
        assert not found.requires_grad

    def test_is_what_the_shipped_loop_hands_to_the_correction(self, estimator, loop, autodir, random_networks):
        """Else the correction would be trained on pictures that it never meets."""
        degraded, seed = batch(1)["degraded"], 11
        heard = []

        def correction(image, diffused, fidelity):
            heard.append(diffused)
            return diffused

        settings = {"sampler": loop.sampler, "steps": loop.steps, "end_timestep": loop.end_timestep}
        restorer = autodir(scm=correction, temperature=loop.temperature, **settings)
        request = Request(image=degraded[0], controls=Controls(prompt="defog it", seed=seed))
        (going_on,) = restorer.begin([request])
        assert isinstance(going_on, Continues)
        for _ in range(loop.steps):
            restorer.step(going_on.tracks)
        restorer.finish(going_on.tracks)
        sampled = estimator.sample({"degraded": degraded, "label": torch.tensor([1])}, loop, generator(seed))
        torch.testing.assert_close(sampled, heard[0], atol=1e-5, rtol=1e-5)
