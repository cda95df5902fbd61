"""The DA-CLIP family with prompts as words: a pass for each repair, nothing, its own choice, and refusals."""

import pytest
import torch

from models.controls import Controls
from models.convert.daclip.conversion import convert_daclip
from models.daclip.restorer import DaCLIPRestorer
from models.drive import restore_one
from models.errors import PromptNotUnderstood
from models.families import load_restorer
from models.restorer import Request

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def published(checkpoint_file, tmp_path_factory) -> DaCLIPRestorer:
    """The converted random pair, loaded as the product does it."""
    bundle = tmp_path_factory.mktemp("bundles") / "daclip-random"
    convert_daclip([checkpoint_file("daclip"), checkpoint_file("unet", 64)], bundle, torch.float32)
    return load_restorer(bundle, CPU)


@pytest.fixture(scope="module")
def words(published, one_step_beside) -> DaCLIPRestorer:
    """A bundle that takes prompts as words."""
    return one_step_beside(published, "words")


def photo(height=41, width=35):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def restored(restorer, prompt, image=None, **controls):
    controls = Controls(prompt=prompt, **controls)
    return restore_one(restorer, Request(image=photo() if image is None else image, controls=controls))


def labels(done):
    return [one.label for one in done.report.passes]


def test_repairs_are_passes_one_after_the_other(words):
    first = restored(words, "remove the noise")
    both = restored(words, "remove the noise and the rain")
    assert labels(both) == ["noise", "rain"] and both.report.stop_reason == "prompt-done"
    assert {one.source for one in both.report.passes} == {"user"}
    torch.testing.assert_close(both.image, restored(words, "remove the rain", first.image).image)
    assert both.report.degradations == first.report.degradations


def test_shares_and_the_most_passes_hold(words):
    done = restored(words, "remove the noise and the rain", max_passes=1, strength={"noise": 0.25})
    assert (labels(done), done.report.stop_reason) == (["noise"], "max-passes")
    torch.testing.assert_close(done.image, torch.lerp(photo(), restored(words, "remove the noise").image, 0.25))


def test_tiles_go_through_all_passes(words):
    image = photo(64, 100)
    controls = Controls(prompt="remove the noise and the rain")
    done = restore_one(words, Request(image=image, controls=controls, tile_px=48))
    assert labels(done) == ["noise", "rain"] and done.image.shape == image.shape


def test_nothing_and_its_own_choice(words):
    image = photo()
    nothing = restored(words, "leave it as it is", image)
    assert nothing.image is image and nothing.report.stop_reason == "nothing-asked"
    best = max(words.assess([image])[0].probabilities.items(), key=lambda item: item[1])[0]
    chosen = restored(words, "make it better", image)
    assert (labels(chosen), chosen.report.passes[0].source) == ([best], "auto")


def test_what_it_cannot_do_is_refused_and_the_best_effort_is_not(words):
    with pytest.raises(PromptNotUnderstood, match="blur"):
        restored(words, "remove the watermark")
    done = restored(words, "remove the watermark", best_effort=True)
    assert len(labels(done)) == 1 and done.report.warnings[0].code == "guessed-prompt"


def test_a_converted_system_takes_free_prompts_and_says_what_the_words_mean(published):
    assert published.config.prompts == "free"
    done = restored(published, "remove the noise and the watermark", steps=2)
    understood = done.report.understood
    assert (len(done.report.passes), understood.used, understood.answer) == (1, "text", "repairs")
    assert restored(published, "remove the watermark", steps=2).report.understood.answer == "unknown"
