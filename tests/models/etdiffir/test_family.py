"""ETDiffIR from checkpoint files to restored images, and the effects of a caption, only and skip."""

from dataclasses import replace

import pytest
import torch
from module_calls import counted_module_calls
from parity_check import assert_parity

from models.controls import Controls
from models.convert.etdiffir.conversion import convert_etdiffir, plan_etdiffir
from models.convert.open_checkpoint import open_checkpoint
from models.daclip.controller import DaCLIP
from models.errors import BundleError, ControlsError
from models.etdiffir.caption_embedding import caption_feature
from models.etdiffir.erunet import EfficientUNet
from models.etdiffir.restorer import ETDiffIRRestorer
from models.families import load_restorer
from models.restorer import Request

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def parts(checkpoint_files):
    """The configuration and both networks, as converted."""
    config, plan = plan_etdiffir([open_checkpoint(path) for path in checkpoint_files], torch.float32)
    controller, network = DaCLIP(config.controller), EfficientUNet(config.unet)
    for name, module in (("daclip", controller), ("unet", network)):
        module.load_state_dict({tensor.name: tensor.load() for tensor in plan[name]})
        module.eval().requires_grad_(False)
    return config, controller, network


@pytest.fixture(scope="module")
def restorer(parts):
    return ETDiffIRRestorer(*parts, CPU)


@pytest.fixture
def image():
    return torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


def run(restorer, image, **controls):
    (outcome,) = restorer.begin([Request(image=image, controls=Controls(steps=2, **controls))])
    if not hasattr(outcome, "tracks"):
        return outcome
    (track,) = outcome.tracks
    while track.step < track.steps:
        restorer.step([track])
    return restorer.finish([track])[0]


def test_two_files_become_a_bundle(checkpoint_files, tmp_path):
    manifest = convert_etdiffir(checkpoint_files[::-1], tmp_path / "et", torch.float32)  # in any order
    assert manifest.family == "etdiffir"
    assert set(manifest.weights) == {"daclip", "unet"}
    assert manifest.networks["unet"]["mode"] == "published-code"
    assert [entry.prompt for entry in manifest.degradations][:2] == ["motion-blurry", "hazy"]


def test_a_bundle_restores_like_its_networks(checkpoint_files, restorer, image, tmp_path):
    convert_etdiffir(checkpoint_files, tmp_path / "et", torch.float32)
    found = run(load_restorer(tmp_path / "et", CPU), image, seed=4)
    assert_parity(found.image, run(restorer, image, seed=4).image)


def test_one_file_or_two_of_a_kind_are_refused(checkpoint_files, tmp_path):
    with pytest.raises(ControlsError, match="got 1 files, expected two"):
        convert_etdiffir(checkpoint_files[:1], tmp_path / "et")
    with pytest.raises(BundleError, match="expected one and a DA-CLIP"):
        convert_etdiffir([checkpoint_files[1], checkpoint_files[1]], tmp_path / "et")
    assert not (tmp_path / "et").exists()


def test_checkpoints_that_do_not_fit_together_are_refused(checkpoint_files, erunet_file, tmp_path):
    with pytest.raises(BundleError, match="64 wide, but the U-Net takes 48"):
        convert_etdiffir([checkpoint_files[0], erunet_file], tmp_path / "et")


def test_the_seed_determines_the_image(restorer, image):
    first, again, other = (run(restorer, image, seed=seed).image for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == image.shape
    assert first.abs().max() <= 1


def test_strength_zero_is_the_input(restorer, image):
    with counted_module_calls() as called:
        nothing = run(restorer, image, strength=0.0, prompt="a dog")
    assert torch.equal(nothing.image, image)
    assert (nothing.report.degradations, nothing.report.stop_reason, called) == ({}, "strength-zero", [])


def test_a_caption_changes_the_image_and_not_the_repaired_degradation(restorer, image):
    plain, told = run(restorer, image), run(restorer, image, prompt="a dog on a beach")
    assert not torch.equal(plain.image, told.image)
    assert plain.report.labels == told.report.labels
    assert plain.report.degradations == told.report.degradations


def test_a_caption_can_be_combined_with_only(restorer, image):
    assert run(restorer, image, prompt="a dog on a beach", only=("haze",)).report.labels == ("haze",)


def test_the_default_caption_is_the_content_embedding(parts, image):
    """The fallbacks use different features, and so restore different images."""
    config, controller, network = parts
    pictures = {
        fallback: run(ETDiffIRRestorer(replace(config, fallback=fallback), controller, network, CPU), image).image
        for fallback in ("content", "word", "neutral")
    }
    assert not torch.equal(pictures["content"], pictures["word"])
    assert not torch.equal(pictures["word"], pictures["neutral"])
    content, word = torch.randn(1, 64), "hazy"
    with torch.inference_mode():
        assert caption_feature(controller, None, "content", content, word) is content
        assert torch.equal(caption_feature(controller, None, "word", content, word), controller.word_features(["hazy"]))
        captioned = caption_feature(controller, "a cat", "word", content, word)
        assert torch.equal(captioned, controller.word_features(["a cat"]))


def test_tracks_at_different_steps_share_a_batch(restorer, image):
    images = [image, image.flip(-1)]
    alone = [run(restorer, one, seed=seed).image for seed, one in enumerate(images)]
    first, second = (
        restorer.begin([Request(image=one, controls=Controls(steps=2, seed=seed))])[0].tracks[0]
        for seed, one in enumerate(images)
    )
    restorer.step([first])
    restorer.step([first, second])
    restorer.step([second])
    together = [outcome.image for outcome in restorer.finish([first, second])]
    for one, other in zip(alone, together, strict=True):
        assert_parity(one, other)


def test_ten_degradations_are_assessed(restorer, image):
    (seen,) = restorer.assess([image])
    assert len(seen.probabilities) == 10
    assert sum(seen.probabilities.values()) == pytest.approx(1, abs=1e-5)
