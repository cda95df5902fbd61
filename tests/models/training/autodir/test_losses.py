"""The published losses of the three stages against values computed by hand."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.autodir.air import AIR
from models.autodir.samplers import NoiseSchedule
from models.training.autodir.frozen_air import FrozenAIR, amplitudes, draw_timesteps
from models.training.autodir.air_stage import AIRStage, AIRStageConfig, Contexts, denoising_target, drops
from models.training.autodir.assessor_stage import AssessorStageConfig, AssessorStage, fidelity_loss, semantic_agnostic_loss
from models.training.autodir.scm_stage import SCMStageConfig, SCMStage, restoration_loss
from models.training.core.config import RunConfig
from models.training.core.text_encoder import text_parameters
from models.training.core.validation import psnr
from models.vocabulary import CLEAN

NAMES = ("low-light", CLEAN)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def value(loss):
    return float(loss.detach())


def kept(timestep):
    """a_t of the published schedule, from its definition."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return float((1 - betas)[: timestep + 1].prod())


@pytest.fixture
def run(tmp_path):
    return RunConfig(images=(), out=tmp_path, device="cpu", loaders=0)


def batch(count=4, side=16, target=None):
    pictures = torch.rand(3, count, 3, side, side, generator=generator(5)) * 2 - 1
    labels = torch.tensor([[1.0, 0.0]] * (count // 2) + [[0.0, 1.0]] * (count - count // 2))
    return {
        "degraded": pictures[0],
        "target": pictures[1] if target is None else torch.full_like(pictures[1], target),
        "clean": pictures[2],
        "labels": labels,
        "label": labels.argmax(dim=1),
    }


class TestTheAssessorsLoss:
    @pytest.mark.parametrize(
        ("probabilities", "labels", "fidelity"),
        [
            ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], 0.0),
            ([0.25, 0.75, 0.0], [1.0, 0.0, 0.0], 1 - 0.5),
            ([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], 0.0),
            ([0.81, 0.09, 0.1], [0.5, 0.5, 0.0], 1 - (math.sqrt(0.405) + math.sqrt(0.045))),
        ],
    )
    def test_fidelity_is_one_minus_the_sum_of_roots(self, probabilities, labels, fidelity):
        found = fidelity_loss(torch.tensor([probabilities]), torch.tensor([labels]))
        assert float(found) == pytest.approx(fidelity, abs=1e-6)

    def test_fidelity_is_the_mean_over_the_batch(self):
        probabilities, labels = torch.tensor([[0.36, 0.64], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        assert float(fidelity_loss(probabilities, labels)) == pytest.approx((0.4 + 0.0) / 2)

    def test_seeing_the_artifact_in_the_clean_twin_costs_its_root(self):
        found = semantic_agnostic_loss(torch.tensor([[0.04, 0.96], [0.25, 0.75]]), torch.tensor([[1.0, 0.0]] * 2))
        assert float(found) == pytest.approx((0.2 + 0.5) / 2)

    def test_a_wholly_wrong_answer_still_learns(self):
        logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
        fidelity_loss(logits.softmax(dim=-1), torch.tensor([[1.0, 0.0]])).backward()
        assert logits.grad.isfinite().all()

    @pytest.fixture
    def stage(self, random_config, random_networks, run, pools, tmp_path):
        text = {name: value.clone() for name, value in text_parameters(random_networks[0].clip).items()}
        save_file(text, tmp_path / "text.safetensors")
        torch.manual_seed(0)
        config = AssessorStageConfig(network=random_config.clip, sa_weight=0.7)
        return AssessorStage(config, run, pools, NAMES, tmp_path / "text.safetensors")

    def test_the_stage_adds_both_and_asks_damaged_pairs_only_for_their_twin(self, stage):
        examples = batch(side=32)
        seen, twins = (stage.assessor.look(list(examples[key]), strict=True) for key in ("degraded", "clean"))
        rights = ["low-light", "low-light", CLEAN, CLEAN]
        fidelity = sum(1 - math.sqrt(answer[right]) for answer, right in zip(seen, rights, strict=True)) / 4
        semantic = sum(math.sqrt(answer["low-light"]) for answer in twins[:2]) / 2
        loss = stage.loss(examples, generator())
        assert value(loss) == pytest.approx(fidelity + 0.7 * semantic, abs=1e-5)

    def test_the_text_tower_is_frozen_while_the_image_tower_learns(self, stage):
        stage.loss(batch(side=32), generator()).backward()
        for name, parameter in stage.assessor.clip.named_parameters():
            learns = name.startswith("visual.") or name == "logit_scale"
            assert (parameter.grad is not None) == learns, name


class TestTheDenoisersLoss:
    def test_the_target_is_eps_or_v(self):
        z, noise, signal, spread = torch.tensor([2.0]), torch.tensor([3.0]), torch.tensor([0.8]), torch.tensor([0.6])
        assert float(denoising_target("epsilon", z, noise, signal, spread)) == 3.0
        assert float(denoising_target("v_prediction", z, noise, signal, spread)) == pytest.approx(0.8 * 3 - 0.6 * 2)

    def test_amplitudes_are_the_published_schedules(self):
        signal, spread = amplitudes(NoiseSchedule(), torch.tensor([0, 500, 999]))
        assert signal.shape == (3, 1, 1, 1)
        for index, timestep in enumerate((0, 500, 999)):
            assert float(signal[index]) == pytest.approx(math.sqrt(kept(timestep)), rel=1e-5)
            assert float(spread[index]) == pytest.approx(math.sqrt(1 - kept(timestep)), rel=1e-4)

    def test_timesteps_are_whole_uniform_and_include_both_ends(self):
        drawn = draw_timesteps(20_000, 0, 9, generator())
        assert drawn.dtype == torch.int64
        shares = torch.bincount(drawn, minlength=10) / 20_000
        assert (shares - 0.1).abs().max() < 0.01

    def test_a_tenth_loses_its_text_a_tenth_its_image_and_a_twentieth_both(self):
        text, image = drops((torch.arange(10_000) + 0.5) / 10_000, AIRStageConfig())
        assert (text & image).float().mean() == pytest.approx(0.05)
        assert (text & ~image).float().mean() == pytest.approx(0.10)
        assert (image & ~text).float().mean() == pytest.approx(0.10)

    def stage(self, random_config, run, pools, prediction="epsilon", **said):
        network = replace(random_config.air, prediction=prediction)
        contexts = Contexts(
            prompts=torch.stack([torch.full((5, 16), float(k + 1)) for k in range(2)]),
            null=torch.full((5, 16), -7.0),
            phrasings=torch.stack([torch.full((3, 5, 16), 10.0 * (k + 1)) for k in range(2)]),
        )
        stage = AIRStage(AIRStageConfig(network=network, **said), run, pools, NAMES, contexts)
        stage.network = Told(network)
        return stage

    def test_a_network_that_says_nothing_is_wrong_by_the_noise(self, random_config, run, pools):
        """E |eps|^2 = 1, whatever the timestep and the picture."""
        stage = self.stage(random_config, run, pools)
        assert value(stage.loss(batch(64), generator())) == pytest.approx(1, abs=0.03)

    @pytest.mark.parametrize("timestep", [0, 300, 999])
    def test_v_of_a_gray_picture_is_the_noise_weakened_by_the_signal(self, random_config, run, pools, timestep):
        """z = 0, so v = sqrt(a) eps and E |v|^2 = a."""
        stage = self.stage(random_config, run, pools, "v_prediction", timesteps=(timestep, timestep))
        assert value(stage.loss(batch(64, target=0.0), generator())) == pytest.approx(kept(timestep), rel=0.04)

    def test_v_of_a_flat_picture_at_the_noisy_end_is_the_picture(self, random_config, run, pools):
        """z = scale, so E |v|^2 = a + (1 - a) scale^2."""
        stage = self.stage(random_config, run, pools, "v_prediction", timesteps=(999, 999))
        scale, a = stage.network.scale, kept(999)
        found = value(stage.loss(batch(64, target=1.0), generator()))
        assert found == pytest.approx(a + (1 - a) * scale**2, rel=0.01)

    def test_the_network_sees_the_target_noised_and_the_degraded_picture_unscaled(self, random_config, run, pools):
        stage = self.stage(random_config, run, pools, timesteps=(0, 0), drop_image=0.0, drop_both=0.0)
        examples = batch(8)
        stage.loss(examples, generator())
        z_t, z_image, timesteps, _ = stage.network.heard
        assert torch.equal(z_image, stage.network.encode(examples["degraded"]))
        clean = stage.network.encode(examples["target"]) * stage.network.scale
        noise = (z_t - math.sqrt(kept(0)) * clean) / math.sqrt(1 - kept(0))
        assert float(noise.std()) == pytest.approx(1, abs=0.05)
        assert timesteps.tolist() == [0] * 8

    def test_dropped_texts_become_the_null_prompt_and_dropped_images_nothing(self, random_config, run, pools):
        stage = self.stage(random_config, run, pools, drop_text=0.3, drop_image=0.3, drop_both=0.2)
        stage.loss(batch(400, side=8), generator())
        _, z_image, _, context = stage.network.heard
        without_text = (context == -7).flatten(1).all(dim=1)
        without_image = (z_image == 0).flatten(1).all(dim=1)
        assert float(without_text.float().mean()) == pytest.approx(0.5, abs=0.08)
        assert float(without_image.float().mean()) == pytest.approx(0.5, abs=0.08)
        assert float((without_text & without_image).float().mean()) == pytest.approx(0.2, abs=0.06)

    def test_the_condition_is_the_true_degradations_prompt_or_a_phrasing_of_it(self, random_config, run, pools):
        stage = self.stage(random_config, run, pools, drop_text=0.0, drop_both=0.0)
        examples = batch(64, side=8)
        stage.loss(examples, generator())
        said = stage.network.heard[3][:, 0, 0]
        for value, label in zip(said.tolist(), examples["label"].tolist(), strict=True):
            assert value in (label + 1.0, 10.0 * (label + 1))
        assert 0.3 < float((said < 5).float().mean()) < 0.7


class Told(AIR):
    """A denoiser that always answers zero and remembers what it was asked."""

    def predict(self, z_t, z_image, timestep, context):
        self.heard = z_t, z_image, timestep, context
        return torch.zeros_like(z_t) * next(self.unet.parameters()).sum()


class Oracle(nn.Module):
    """A denoiser that knows the clean picture, hence the exact eps or v of any noised latent."""

    def __init__(self, air, target):
        super().__init__()
        self.config, self.schedule, self.scale, self.codec = air.config, air.schedule, air.scale, air.codec
        self.clean = self.encode(target) * self.scale

    def encode(self, image):
        return self.codec.encode(image)

    def decode(self, z):
        return self.codec.decode(z / self.scale)

    def predict(self, z_t, z_image, timestep, context):
        signal, spread = amplitudes(self.schedule, timestep)
        noise = (z_t - signal * self.clean) / spread
        return denoising_target(self.config.prediction, self.clean, noise, signal, spread)


class TestTheCorrectionsLoss:
    @pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
    @pytest.mark.parametrize("timestep", [0, 400, 999])
    def test_the_one_step_estimate_of_an_oracle_is_the_clean_picture(self, random_config, prediction, timestep):
        examples = batch()
        oracle = Oracle(AIR(replace(random_config.air, prediction=prediction)), examples["target"])
        estimate = FrozenAIR(oracle, torch.zeros(2, 5, 16)).estimate(examples, (timestep, timestep), generator())
        torch.testing.assert_close(estimate, examples["target"], atol=2e-4, rtol=0)

    def test_the_estimate_is_the_published_formula(self, random_config):
        """z~ = z_t / sqrt(a) - sqrt(1 - a) eps / sqrt(a); a network that answers eps = 0 leaves z_t / sqrt(a)."""
        air, examples = Told(replace(random_config.air, prediction="epsilon")), batch(target=0.0)
        estimate = FrozenAIR(air, torch.zeros(2, 5, 16)).estimate(examples, (400, 400), generator())
        expected = air.decode(air.heard[0] / math.sqrt(kept(400))).clamp(-1, 1)
        torch.testing.assert_close(estimate, expected, atol=1e-5, rtol=1e-5)

    def test_restoration_losses_by_hand(self):
        restored, target = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
        restored[0], restored[1] = 0.5, -0.1
        assert float(restoration_loss(restored, target, "mse")) == pytest.approx((0.25 + 0.01) / 2)
        assert float(restoration_loss(restored, target, "rmse")) == pytest.approx((0.5 + 0.1) / 2, abs=1e-4)

    def test_the_stage_compares_the_corrected_estimate_with_the_target(self, random_config, run, pools):
        """MSE(I_gt, F([I, D(z~)]) + D(z~)) with an oracle's estimate is the mean square of the correction itself."""
        examples = batch()
        oracle = Oracle(AIR(replace(random_config.air, prediction="epsilon")), examples["target"])
        torch.manual_seed(0)
        config = SCMStageConfig(network=random_config.scm, timesteps=(100, 100))
        stage = SCMStage(config, run, pools, NAMES, FrozenAIR(oracle, torch.zeros(2, 5, 16)))
        correction = stage.network.correction(examples["degraded"], examples["target"])
        loss = stage.loss(examples, generator())
        torch.testing.assert_close(loss, correction.square().mean(), atol=1e-4, rtol=1e-3)

    def test_without_a_denoiser_the_degraded_picture_stands_in(self, random_config, run, pools):
        stage = SCMStage(SCMStageConfig(network=random_config.scm), run, pools, NAMES, None)
        nn.init.zeros_(stage.network.ending.weight)
        nn.init.zeros_(stage.network.ending.bias)
        examples = batch()
        expected = (examples["degraded"] - examples["target"]).square().mean()
        torch.testing.assert_close(stage.loss(examples, generator()), expected)

    def test_psnr_by_hand(self):
        """An error of 0.2 in [-1, 1] is 0.1 of the range: 20 dB."""
        gray = torch.zeros(2, 3, 8, 8)
        assert psnr(gray + 0.2, gray) == pytest.approx(20, abs=1e-4)
        assert psnr(torch.full_like(gray, 3.0), torch.ones_like(gray)) == psnr(gray, gray), "results are clamped"
