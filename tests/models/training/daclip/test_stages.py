"""The stages: they learn, keep frozen what is to stay, use what they are told, and the command says what is missing."""

import json
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import ConditionalUNet, UNetConfig
from models.daclip.controller import ControllerConfig, DaCLIP
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.networks.clip import ClipConfig, TextConfig, VisionConfig
from models.training.core.config import RunConfig
from models.training.core.trainer import Trainer
from models.training.daclip.contrastive import MAX_LOG_SCALE
from models.training.daclip.controller_stage import DaCLIPStage, DaCLIPStageConfig, seen, validation_batches
from models.training.daclip.restoration_stage import OneStepStage, RestorationStageConfig, SDEStage
from models.training.data.captioned_examples import DrawnExamples, captioned
from models.training.data.photos import CropConfig, find_photos

CPU = torch.device("cpu")
QUIET = Console(quiet=True)
TINY = ControllerConfig(
    clip=ClipConfig(
        embed_dim=32,
        vision=VisionConfig(image_size=32, layers=2, width=64, patch_size=8),
        text=TextConfig(width=32, heads=4, layers=1),
        quick_gelu=False,
    )
)
GENERATOR = torch.Generator()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("dog/a.png", "car/b.png", "car/c.png"):
        (root / name).parent.mkdir(exist_ok=True)
        blobs = cv2.resize(rng.random((12, 16, 3)), (200, 160), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / name), (255 * np.clip(blobs, 0, 1)).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def found(photos, tmp_path_factory):
    return captioned(find_photos([photos]), [photos], {}, tmp_path_factory.mktemp("cache"), 1600)


def run_config(out, **said):
    base = {
        "images": (), "out": out, "steps": 4, "batch": 5, "loaders": 0, "device": "cpu", "warmup_steps": 1,
        "crop": CropConfig(crop_px=32), "validate_every_s": 1e9, "learning_rate": 1e-3,
    }  # fmt: skip
    return RunConfig(**{**base, **said})


def daclip_stage(run, found, *, frozen=(), wild=False, robust=False):
    torch.manual_seed(0)
    examples = DrawnExamples(found, run.crop, run.seed, wild=wild)
    config = DaCLIPStageConfig(network=TINY, robust=robust)
    network = DaCLIP(TINY)
    return DaCLIPStage(config, run, examples, validation_batches(examples, 10, 1), network, frozen=frozen)


def guide():
    torch.manual_seed(1)
    return DaCLIP(TINY)


def restoring(run, found, network, stage=SDEStage, **said):
    examples = DrawnExamples(found, run.crop, run.seed)
    config = RestorationStageConfig(network=network.config, validation_steps=3)
    return stage(config, run, examples, validation_batches(examples, 10, 1), guide(), network, **said)


def tiny_unet():
    torch.manual_seed(2)
    return ConditionalUNet(UNetConfig(width=32, multipliers=(1, 2), context_dim=32))


def before_and_after(stage, run):
    """The loss of one batch before training and after, at the same random step and noise."""
    trainer = Trainer(stage, run, CPU, stage.config)
    batch = next(stage.examples(0))
    losses = [float(stage.loss(batch, GENERATOR.manual_seed(5)).detach())]
    trainer.train(QUIET)
    stage.network.load_state_dict(load_file(run.out / "best.safetensors"))
    return [*losses, float(stage.loss(batch, GENERATOR.manual_seed(5)).detach())]


def test_the_controller_learns_to_tell_the_kinds(found, tmp_path):
    run = run_config(tmp_path, steps=60, batch=20, learning_rate=2e-3)
    before, after = before_and_after(daclip_stage(run, found), run)
    assert after < 0.95 * before  # with two captions in a batch of 20 the first term stays above ln 10
    figures = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert figures["degradation"] >= 0.3  # 0.1 by chance


def test_a_frozen_base_stays_as_it_was_and_the_controller_moves(found, tmp_path):
    run = run_config(tmp_path)
    stage = daclip_stage(run, found, frozen=("visual", "text"))
    before = {name: value.clone() for name, value in stage.network.state_dict().items()}
    Trainer(stage, run, CPU, stage.config).train(QUIET)
    moved = {name for name, value in stage.network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("clip.") for name in moved)
    assert any(name.startswith("controller.") for name in moved)
    assert any(name.startswith("links.") for name in moved)
    assert "logit_scale" in moved


def test_the_temperature_never_leaves_its_range(found, tmp_path):
    stage = daclip_stage(run_config(tmp_path), found)
    stage.network.logit_scale.data.fill_(9.0)
    stage.loss(next(stage.examples(0)), GENERATOR)
    assert float(stage.network.logit_scale.detach()) == pytest.approx(MAX_LOG_SCALE)


def test_the_robust_stage_pulls_toward_the_clean_pictures_embedding(found, tmp_path):
    run = run_config(tmp_path)
    plain, robust = (daclip_stage(run, found, wild=True, robust=flag) for flag in (False, True))
    batch = next(plain.examples(0))
    assert float(plain.terms(plain.network, batch).fidelity) == 0
    term = robust.terms(robust.network, batch).fidelity
    assert float(term.detach()) > 0
    same = {**batch, "degraded": batch["target"]}  # links are silent at first: the same picture, the same embedding
    assert float(robust.terms(robust.network, same).fidelity.detach()) == pytest.approx(0, abs=1e-6)


def test_the_towers_see_what_the_restorers_preprocessing_shows(found):
    from models.daclip.controller import preprocess

    example = DrawnExamples(found, CropConfig(crop_px=48), seed=0)[4]
    ours = seen(example["target"][None], TINY)[0]
    theirs = preprocess(example["target"], TINY.clip)
    step = 1 / 255 / min(TINY.clip.std)  # PIL rounds after each of its two passes
    assert (ours - theirs).abs().max() <= 2 * step
    assert (ours - theirs).abs().mean() <= 0.5 * step


def test_irsde_learns(found, tmp_path):
    run = run_config(tmp_path, steps=25, learning_rate=2e-3)
    before, after = before_and_after(restoring(run, found, tiny_unet()), run)
    assert after < before


def test_etdiffir_learns_and_its_caption_counts(found, tmp_path):
    torch.manual_seed(3)
    network = EfficientUNet(EfficientUNetConfig(width=32, multipliers=(1, 2), context_dim=32, mode="paper"))
    run = run_config(tmp_path, steps=25, learning_rate=2e-3)
    stage = restoring(run, found, network, name="etdiffir")
    before, after = before_and_after(stage, run)
    assert after < before
    batch = next(stage.examples(0))
    said = stage.constants(network, batch)
    other = stage.constants(network, {**batch, "caption": batch["word"]})
    assert (said.prompt - other.prompt).abs().max() > 0
    assert (said.crosses[0] - other.crosses[0]).abs().max() > 0


def test_the_one_step_network_learns(found, tmp_path):
    torch.manual_seed(4)
    config = NAFNetConfig(width=32, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,), context_dim=32)
    run = run_config(tmp_path, steps=25, learning_rate=2e-3)
    before, after = before_and_after(restoring(run, found, ConditionalNAFNet(config), OneStepStage), run)
    assert after < before


def test_who_is_told_the_word_needs_no_look(found, tmp_path):
    """Told, the controller's weights do not matter and the words do; not told, the other way round."""
    torch.manual_seed(2)
    network = ConditionalNAFNet(NAFNetConfig(width=32, encoder_blocks=(1,), decoder_blocks=(1,), context_dim=32))
    for name, value in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.ones_(value)
    run = run_config(tmp_path, batch=10)

    def losses(told):
        stage = restoring(run, found, network, OneStepStage)
        stage.config = replace(stage.config, told=told)
        batch = next(stage.examples(0))
        usual = float(stage.loss(batch, GENERATOR.manual_seed(5)).detach())
        with torch.no_grad():
            stage.daclip.controller.proj.add_(torch.randn(stage.daclip.controller.proj.shape, generator=GENERATOR))
        other_look = float(stage.loss(batch, GENERATOR.manual_seed(5)).detach())
        batch["word"] = batch["word"].roll(1, dims=0)
        other_words = float(stage.loss(batch, GENERATOR.manual_seed(5)).detach())
        return usual, other_look, other_words

    told, seen = losses(1.0), losses(0.0)
    assert told[1] != told[2] and seen[0] != seen[1] and seen[1] == seen[2]


def test_half_of_the_steps_learn_the_content(found, tmp_path):
    """With a share of 0 the base image tower gets no gradient, with 1 it always does."""

    def moved(share):
        stage = daclip_stage(run_config(tmp_path, batch=10), found)
        stage.config = replace(stage.config, content=share)
        batch = next(stage.examples(0))
        moves = 0
        for seed in range(20):
            stage.network.zero_grad(set_to_none=True)
            stage.loss(batch, torch.Generator().manual_seed(seed)).backward()
            moves += stage.network.clip.visual.proj.grad is not None
        return moves

    assert moved(0.0) == 0 and moved(1.0) == 20 and 4 <= moved(0.5) <= 16


def test_the_guide_is_frozen(found, tmp_path):
    stage = restoring(run_config(tmp_path), found, tiny_unet())
    stage.loss(next(stage.examples(0)), GENERATOR).backward()
    assert all(value.grad is None for value in stage.daclip.parameters())


def test_a_loss_depends_on_its_generator_alone(found, tmp_path):
    stage = restoring(run_config(tmp_path), found, tiny_unet())
    batch = next(stage.examples(0))
    with torch.no_grad():
        first, again, other = (float(stage.loss(batch, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2))
    assert first == again != other


def test_resuming_sees_the_next_examples(found, tmp_path):
    stage = daclip_stage(run_config(tmp_path), found)
    whole = next(replace_batch(stage, 10).examples(0))
    second = next(stage.examples(5))
    assert torch.equal(whole["degraded"][5:], second["degraded"])


def replace_batch(stage, batch):
    stage = DaCLIPStage(stage.config, replace(stage.run, batch=batch), stage._examples, [], stage.network, frozen=())
    return stage


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "models.training", *map(str, words)], capture_output=True, text=True, timeout=250
    )


def test_the_command_asks_for_the_guide_and_for_photos(photos, tmp_path):
    options = ("--out", tmp_path / "out", "--cache", tmp_path / "cache", "--steps", 1)
    missing = command("irsde", "--images", photos, *options)
    assert missing.returncode == 3
    assert "got no --daclip; train it first" in " ".join(missing.stderr.split())
    nothing = command("daclip", *options)
    assert nothing.returncode == 3 and "got no --images" in nothing.stderr


def test_the_command_refuses_a_base_that_does_not_fit(photos, tmp_path):
    save_file({"visual.proj": torch.zeros(3)}, tmp_path / "base.safetensors")
    options = ("--out", tmp_path / "out", "--cache", tmp_path / "cache", "--steps", 1)
    done = command("daclip", "--images", photos, "--base", tmp_path / "base.safetensors", *options)
    assert done.returncode == 3
    assert "does not fit CLIP" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_the_small_networks_train_by_command_one_upon_the_other(photos, tmp_path):
    shared = ("--images", photos, "--cache", tmp_path / "cache", "--steps", 2, "--loaders", 0, "--threads", 1)
    assert command("daclip", *shared, "--batch", 4, "--out", tmp_path / "daclip").returncode == 0
    guide = tmp_path / "daclip" / "best.safetensors"
    for stage in ("nafnet-daclip", "irsde", "etdiffir"):
        options = ("--batch", 2, "--crop", 32, "--daclip", guide, "--out", tmp_path / stage)
        done = command(stage, *shared, *options)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / stage / "best.safetensors").exists()


def test_autocast_changes_no_loss(found, tmp_path):
    """On a GPU the trainer runs stages under bfloat16; these networks are trained as they are run."""
    stage = restoring(run_config(tmp_path), found, tiny_unet())
    batch = next(stage.examples(0))
    with torch.no_grad():
        plain = stage.loss(batch, torch.Generator().manual_seed(1))
        with torch.autocast("cpu", torch.bfloat16):
            cast = stage.loss(batch, torch.Generator().manual_seed(1))
    assert torch.equal(plain, cast)
