"""The stages `irsde`, `etdiffir` and `nafnet-daclip`: their loss, that they learn, and the conditions that they use."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from parity_check import assert_parity
from rich.console import Console
from safetensors.torch import load_file

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import ConditionalUNet, UNetConfig
from models.daclip.irsde import IRSDE, SDEConfig, diffuse, matching_loss, posterior_mean, score_from_noise, sde_mean
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.training.core.trainer import Trainer
from models.training.daclip.controller_stage import validation_batches
from models.training.daclip.restoration_stage import OneStepStage, RestorationStageConfig, SDEStage
from models.training.data.captioned_examples import DrawnExamples
from models.training.data.share import Draws

CPU = torch.device("cpu")
QUIET = Console(quiet=True)
GENERATOR = torch.Generator()
KEYS = "unet_small_keys.json"


@pytest.fixture(scope="module")
def vectors(shared):
    return lambda name: load_file(shared / "parity" / "daclip" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def unet_keys(shared):
    return json.loads((shared / "parity" / "daclip" / KEYS).read_text())


@pytest.fixture
def unet(unet_keys):
    """The small random U-Net of the vectors."""
    path = Path(__file__).parents[3] / "parity" / "weights.py"
    spec = importlib.util.spec_from_file_location("parity_weights", path)
    assert spec and spec.loader
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    network = ConditionalUNet(UNetConfig(width=32, multipliers=(1, 2, 2, 4), context_dim=48))
    state = {key: weights.daclip_tensor(key, tuple(shape)) for key, (shape, _) in unet_keys.items()}
    assert not network.load_state_dict(state, strict=False).missing_keys
    return network


def test_the_matching_loss_and_its_parts_equal_those_of_the_authors(vectors):
    v, sde = vectors("c_train"), IRSDE()
    at = sde.at(v["t"].flatten())
    assert_parity(diffuse(v["x0"], v["mu"], v["noise"], at), v["states"])
    score = score_from_noise(v["eps"], at)
    assert_parity(sde_mean(v["states"], v["mu"], score, at), v["pred"])
    assert_parity(posterior_mean(v["states"], v["mu"], v["x0"], at), v["opt"])
    loss = matching_loss(v["states"], v["x0"], v["mu"], v["eps"], at)
    assert_parity(loss, v["loss_l1"])


def test_loss_and_gradients_of_a_training_step_equal_those_of_the_authors(vectors, unet, unet_keys):
    v, sde = vectors("t_train_unet"), IRSDE()
    at = sde.at(v["t"].flatten())
    state = diffuse(v["x0"], v["mu"], v["noise"], at)
    eps = unet(state, v["mu"], at.time.flatten(), unet.prepare(v["image_context"], v["degra"]))
    assert_parity(eps, v["eps"])  # of values up to 5.7
    loss = matching_loss(state, v["x0"], v["mu"], eps, at)
    assert_parity(loss, v["loss"])
    loss.backward()
    gradients = {name: value.grad for name, value in unet.named_parameters()}
    for name in [key for key in v if key.startswith("grad.")]:
        expected = v[name]
        found = gradients[name.removeprefix("grad.")]
        assert_parity(found, expected, message=name)
    # The norms of all 224 as a sorted list, since the authors' order differs; unused parameters have no gradient
    found = [g.norm() for g in gradients.values()] + [torch.zeros(())] * (len(unet_keys) - len(gradients))
    assert_parity(torch.stack(found).sort().values, v["gradnorm"].sort().values)


def test_the_loss_of_a_batch_is_the_mean_of_single_losses(vectors):
    """Each picture has its own step index, and the other pictures do not depend on it."""
    v, sde = vectors("c_train"), IRSDE()
    t = v["t"].flatten()
    whole = matching_loss(v["states"], v["x0"], v["mu"], v["eps"], sde.at(t))
    parts = [
        matching_loss(*(v[name][i : i + 1] for name in ("states", "x0", "mu", "eps")), sde.at(t[i : i + 1]))
        for i in range(len(t))
    ]
    assert_parity(whole, torch.stack(parts).mean())


def test_the_loss_of_the_true_noise_is_the_discretization_error():
    """In the limit of many steps Euler's mean with the true score is the posterior mean: the loss falls with T."""
    generator = torch.Generator().manual_seed(0)
    x0, mu, noise = (torch.rand(8, 3, 8, 8, generator=generator) for _ in range(3))
    losses = []
    for steps in (50, 500, 5000):
        sde = IRSDE(SDEConfig(steps=steps))
        at = sde.at(torch.full((8,), steps // 2))
        losses.append(float(matching_loss(diffuse(x0, mu, noise, at), x0, mu, noise, at)))
    assert losses[1] < losses[0] / 30
    assert losses[2] < losses[1] / 5  # the limit of float32


@pytest.fixture
def build(captioned_photos, tiny_daclip):
    def make(run, network, stage=SDEStage, **settings):
        examples = DrawnExamples(captioned_photos, run.crop, run.seed)
        config = RestorationStageConfig(network=network.config, validation_steps=3)
        return stage(config, run, examples, validation_batches(examples, 10, 1), tiny_daclip(1), network, **settings)

    return make


def tiny_unet():
    torch.manual_seed(2)
    return ConditionalUNet(UNetConfig(width=32, multipliers=(1, 2), context_dim=32))


def losses_before_and_after(stage, run):
    """Returns the loss of one batch before and after training, at the same random step and noise."""
    trainer = Trainer(stage, run, CPU, stage.config)
    batch = next(stage.examples(0))
    before = float(stage.loss(batch, Draws(GENERATOR.manual_seed(5))).detach())
    trainer.train(QUIET)
    stage.network.load_state_dict(load_file(run.out / "best.safetensors"))
    return before, float(stage.loss(batch, Draws(GENERATOR.manual_seed(5))).detach())


@pytest.mark.slow
def test_irsde_learns(build, daclip_run, tmp_path):
    run = daclip_run(tmp_path, steps=25, learning_rate=2e-3)
    before, after = losses_before_and_after(build(run, tiny_unet()), run)
    assert after < before


@pytest.mark.slow
def test_etdiffir_learns_and_uses_the_caption(build, daclip_run, tmp_path):
    torch.manual_seed(3)
    network = EfficientUNet(EfficientUNetConfig(width=32, multipliers=(1, 2), context_dim=32, mode="paper"))
    run = daclip_run(tmp_path, steps=25, learning_rate=2e-3)
    stage = build(run, network, name="etdiffir")
    before, after = losses_before_and_after(stage, run)
    assert after < before
    batch = next(stage.examples(0))
    constants = stage.constants(network, batch)
    other = stage.constants(network, {**batch, "caption": batch["word"]})
    assert (constants.prompt - other.prompt).abs().max() > 0
    assert (constants.cross_vectors[0] - other.cross_vectors[0]).abs().max() > 0


@pytest.mark.slow
def test_the_one_step_network_learns(build, daclip_run, tmp_path):
    torch.manual_seed(4)
    config = NAFNetConfig(width=32, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,), context_dim=32)
    run = daclip_run(tmp_path, steps=25, learning_rate=2e-3)
    before, after = losses_before_and_after(build(run, ConditionalNAFNet(config), OneStepStage), run)
    assert after < before


def test_pictures_conditioned_by_a_word_do_not_depend_on_the_controller(build, daclip_run, tmp_path):
    """With a word share of 1 the loss depends on the words and not on the controller; with 0, the reverse."""
    torch.manual_seed(2)
    network = ConditionalNAFNet(NAFNetConfig(width=32, encoder_blocks=(1,), decoder_blocks=(1,), context_dim=32))
    for name, value in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.ones_(value)
    run = daclip_run(tmp_path, batch=10)

    def losses(word_share):
        stage = build(run, network, OneStepStage)
        stage.config = replace(stage.config, word_share=word_share)
        batch = next(stage.examples(0))
        usual = float(stage.loss(batch, Draws(GENERATOR.manual_seed(5))).detach())
        with torch.no_grad():
            stage.daclip.controller.proj.add_(torch.randn(stage.daclip.controller.proj.shape, generator=GENERATOR))
        other_controller = float(stage.loss(batch, Draws(GENERATOR.manual_seed(5))).detach())
        batch["word"] = batch["word"].roll(1, dims=0)
        other_words = float(stage.loss(batch, Draws(GENERATOR.manual_seed(5))).detach())
        return usual, other_controller, other_words

    by_word, by_controller = losses(1.0), losses(0.0)
    assert by_word[1] != by_word[2]
    assert by_controller[0] != by_controller[1] and by_controller[1] == by_controller[2]


def test_daclip_is_frozen(build, daclip_run, tmp_path):
    stage = build(daclip_run(tmp_path), tiny_unet())
    stage.loss(next(stage.examples(0)), Draws(GENERATOR)).backward()
    assert all(value.grad is None for value in stage.daclip.parameters())


def test_the_loss_depends_on_its_generator_alone(build, daclip_run, tmp_path):
    stage = build(daclip_run(tmp_path), tiny_unet())
    batch = next(stage.examples(0))
    with torch.no_grad():
        first, again, other = (
            float(stage.loss(batch, Draws(torch.Generator().manual_seed(seed)))) for seed in (1, 1, 2)
        )
    assert first == again != other


def test_autocast_does_not_change_the_loss(build, daclip_run, tmp_path):
    """On a GPU the trainer runs stages under bfloat16; these networks are trained in the precision of inference."""
    stage = build(daclip_run(tmp_path), tiny_unet())
    batch = next(stage.examples(0))
    with torch.no_grad():
        plain = stage.loss(batch, Draws(torch.Generator().manual_seed(1)))
        with torch.autocast("cpu", torch.bfloat16):
            cast = stage.loss(batch, Draws(torch.Generator().manual_seed(1)))
    assert torch.equal(plain, cast)
