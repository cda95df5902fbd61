"""The stages `daclip` and `daclip-wild`: they learn, keep frozen parts, and continue with the next examples."""

import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from models.daclip.controller import preprocess
from models.training.core.trainer import Trainer
from models.training.daclip.contrastive import MAX_LOG_SCALE
from models.training.daclip.controller_stage import (
    DaCLIPStage,
    DaCLIPStageConfig,
    encoder_input,
    validation_batches,
)
from models.training.data.captioned_examples import DrawnExamples
from models.training.data.photos import CropConfig
from models.training.data.share import Draws

CPU = torch.device("cpu")
QUIET = Console(quiet=True)
GENERATOR = torch.Generator()


@pytest.fixture
def build(captioned_photos, tiny_daclip, tiny_controller):
    def make(run, *, frozen=(), wild=False, robust=False):
        network = tiny_daclip(0)
        examples = DrawnExamples(captioned_photos, run.crop, run.seed, wild=wild)
        config = DaCLIPStageConfig(network=tiny_controller, robust=robust)
        return DaCLIPStage(config, run, examples, validation_batches(examples, 10, 1), network, frozen=frozen)

    return make


def losses_before_and_after(stage, run):
    """Returns the loss of one batch before and after training, at the same random step and noise."""
    trainer = Trainer(stage, run, CPU, stage.config)
    batch = next(stage.examples(0))
    before = float(stage.loss(batch, Draws(GENERATOR.manual_seed(5))).detach())
    trainer.train(QUIET)
    stage.network.load_state_dict(load_file(run.out / "best.safetensors"))
    return before, float(stage.loss(batch, Draws(GENERATOR.manual_seed(5))).detach())


@pytest.mark.slow
def test_the_controller_learns_to_distinguish_the_kinds(build, daclip_run, tmp_path):
    run = daclip_run(tmp_path, steps=60, batch=20, learning_rate=2e-3)
    before, after = losses_before_and_after(build(run), run)
    assert after < 0.95 * before  # with two captions in a batch of 20, the first term stays above ln 10
    figures = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert figures["degradation"] >= 0.3  # 0.1 by chance


def test_a_frozen_base_does_not_change_and_the_controller_does(build, daclip_run, tmp_path):
    run = daclip_run(tmp_path)
    stage = build(run, frozen=("visual", "text"))
    before = {name: value.clone() for name, value in stage.network.state_dict().items()}
    Trainer(stage, run, CPU, stage.config).train(QUIET)
    moved = {name for name, value in stage.network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("clip.") for name in moved)
    assert any(name.startswith("controller.") for name in moved)
    assert any(name.startswith("links.") for name in moved)
    assert "logit_scale" in moved


def test_the_temperature_stays_in_its_range(build, daclip_run, tmp_path):
    stage = build(daclip_run(tmp_path))
    stage.network.logit_scale.data.fill_(9.0)
    stage.loss(next(stage.examples(0)), Draws(GENERATOR))
    assert float(stage.network.logit_scale.detach()) == pytest.approx(MAX_LOG_SCALE)


def test_the_robust_term_is_the_distance_to_the_embedding_of_the_clean_picture(build, daclip_run, tmp_path):
    run = daclip_run(tmp_path)
    plain, robust = (build(run, wild=True, robust=flag) for flag in (False, True))
    batch = next(plain.examples(0))
    assert float(plain.terms(plain.network, batch).fidelity) == 0
    term = robust.terms(robust.network, batch).fidelity
    assert float(term.detach()) > 0
    same = {**batch, "degraded": batch["target"]}  # links are zero at first: same picture, same embedding
    assert float(robust.terms(robust.network, same).fidelity.detach()) == pytest.approx(0, abs=1e-6)


def test_the_encoder_input_is_that_of_the_restorer(captioned_photos, tiny_controller):
    example = DrawnExamples(captioned_photos, CropConfig(crop_px=48), seed=0)[4]
    ours = encoder_input(example["target"][None], tiny_controller)[0]
    theirs = preprocess(example["target"], tiny_controller.clip)
    step = 1 / 255 / min(tiny_controller.clip.std)  # PIL rounds after each of its two passes
    assert (ours - theirs).abs().max() <= 2 * step
    assert (ours - theirs).abs().mean() <= 0.5 * step


@pytest.mark.slow
def test_the_content_share_is_the_share_of_steps_with_a_content_gradient(build, daclip_run, tmp_path):
    """With a share of 0 the base image encoder gets no gradient, with 1 it always gets one."""

    def moved(share):
        stage = build(daclip_run(tmp_path, batch=10))
        stage.config = replace(stage.config, content_share=share)
        batch = next(stage.examples(0))
        moves = 0
        for seed in range(20):
            stage.network.zero_grad(set_to_none=True)
            stage.loss(batch, Draws(torch.Generator().manual_seed(seed))).backward()
            moves += stage.network.clip.visual.proj.grad is not None
        return moves

    assert moved(0.0) == 0 and moved(1.0) == 20 and 4 <= moved(0.5) <= 16


def test_a_later_start_continues_with_the_next_examples(build, daclip_run, tmp_path):
    stage = build(daclip_run(tmp_path))
    second = next(stage.examples(5))
    stage.run = replace(stage.run, batch=10)
    whole = next(stage.examples(0))
    assert torch.equal(whole["degraded"][5:], second["degraded"])
