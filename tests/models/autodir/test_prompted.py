"""AutoDIR's loop with a prompt: the repairs of its words in their order, nothing, its own choice, or a free prompt."""

from dataclasses import replace

import pytest
import torch
from scripted_assessor import Script, picture, sees

from models.autodir.restorer import AutoDIR
from models.controls import Controls
from models.drive import restore_one
from models.errors import PromptNotUnderstood
from models.restorer import Request

BOTH = "remove the noise and the haze"


@pytest.fixture
def build(autodir):
    """AutoDIR that takes prompts as words, with prepared answers of the assessor."""

    def make(*answers, prompts="words", guess=None):
        plain = autodir(assessor=Script(*(answers or (sees(clean=0.9),))))
        if guess is not None:
            plain.assessor.prompt_probabilities = lambda prompt: guess
        config = replace(plain.config, prompts=prompts)
        return AutoDIR(config, plain.assessor, plain.air, plain.scm, plain.device)

    return make


def restored(model, prompt, image=None, **controls):
    request = Request(image=picture() if image is None else image, controls=Controls(prompt=prompt, **controls))
    return restore_one(model, request)


def repairs(done):
    return [(one.label, one.source) for one in done.report.passes]


@pytest.mark.parametrize(("prompt", "names"), [
    (BOTH, ["noise", "haze"]), ("first dehaze, then denoise", ["haze", "noise"]), ("entferne den Nebel", ["haze"]),
])  # fmt: skip
def test_each_repair_is_a_pass_in_the_users_order_and_is_kept(build, prompt, names):
    done = restored(build(sees(clean=0.9)), prompt)  # a clean picture: nobody asks the assessor
    assert repairs(done) == [(name, "user") for name in names] and all(one.kept for one in done.report.passes)
    assert done.report.stop_reason == "prompt-done"
    assert (done.report.understood.repairs, done.report.understood.used) == (tuple(names), "label")


def test_the_passes_of_a_prompt_are_those_of_its_repairs_one_after_the_other(build):
    first = restored(build(), "remove the noise").image
    together = restored(build(), BOTH).image
    torch.testing.assert_close(together, restored(build(), "remove the haze", image=first).image)


def test_the_words_do_not_reach_the_networks(build):
    """A small text encoder knows few words: two languages give one result."""
    one, other = restored(build(), "remove the haze").image, restored(build(), "enlève la brume").image
    assert torch.equal(one, other)


def test_nothing_looks_at_a_picture_that_is_to_stay_as_it_is(build):
    model, image = build(sees(noise=0.9)), picture()
    done = restored(model, "please leave it as it is", image)
    assert done.image is image and not model.assessor.shown
    assert (done.report.stop_reason, done.report.understood.answer, done.report.change.share) == (
        "nothing-asked", "nothing", 0,
    )  # fmt: skip


def test_the_service_chooses_but_never_what_is_to_be_kept(build):
    answers = (sees(noise=0.8), sees(haze=0.8), sees(clean=0.9))
    assert repairs(restored(build(*answers), "make it better"))[0] == ("noise", "auto")
    kept = restored(build(*answers), "make it better, but keep the grain")
    assert "noise" not in [name for name, _ in repairs(kept)] and kept.report.understood.kept == ("noise",)


@pytest.mark.parametrize("prompt", ["remove the watermark", "remove the shadow", "remove the noise and the snow"])
def test_what_the_bundle_cannot_do_is_refused_before_any_network_runs(build, prompt):
    model = build(sees(noise=0.9))
    with pytest.raises(PromptNotUnderstood, match="noise, haze, low-resolution"):
        restored(model, prompt)
    assert not model.assessor.shown


def test_the_best_effort_does_what_can_be_done(build):
    done = restored(build(), "remove the noise and the snow", best_effort=True)
    assert repairs(done) == [("noise", "user")] and done.report.warnings[0].code == "partial-prompt"


@pytest.mark.parametrize(("guess", "names", "stop"), [
    (sees(haze=0.9), [("haze", "user")], "prompt-done"), (sees(clean=0.9), [], "nothing-asked"),
])  # fmt: skip
def test_a_guess_is_over_all_names_also_clean(build, guess, names, stop):
    done = restored(build(guess=guess), "remove the watermark", best_effort=True)
    assert (repairs(done), done.report.stop_reason) == (names, stop)
    assert done.report.warnings[0].code == "guessed-prompt" and done.report.understood.answer == "unknown"


def test_most_passes_hold_for_a_prompt_too(build):
    done = restored(build(), BOTH, max_passes=1)
    assert (repairs(done), done.report.stop_reason) == ([("noise", "user")], "max-passes")


def test_each_repair_of_a_prompt_may_have_a_share(build):
    """The oracle is arithmetic on the full repair."""
    whole, none = restored(build(), "remove the noise"), restored(build(), BOTH, strength={"haze": 0, "noise": 0.3})
    torch.testing.assert_close(none.image, torch.lerp(picture(), whole.image, 0.3))
    assert repairs(none) == [("noise", "user")]


def test_after_the_repairs_of_a_prompt_an_enlarged_photo_gets_its_own(build):
    done = restored(build(), "remove the noise", scale=2)
    assert repairs(done) == [("noise", "user"), ("low-resolution", "scale")]
    assert repairs(restored(build(), "upscale it, then denoise", scale=2)) == [
        ("low-resolution", "user"), ("noise", "user"),
    ]  # fmt: skip


@pytest.mark.parametrize("free", [{"prompts": "free"}, {"strict": True}])
def test_a_free_prompt_is_one_pass_and_the_report_says_what_its_words_mean(build, free):
    model = build(sees(clean=0.9), prompts=free.get("prompts", "words"))
    done = restored(model, BOTH, strict=free.get("strict", False))
    assert repairs(done) == [("haze", "user")]  # which the text encoder finds most similar
    understood = done.report.understood
    assert (understood.label, understood.used, understood.repairs) == ("haze", "text", ("noise", "haze"))
    assert repairs(restored(model, "remove the watermark", strict=free.get("strict", False))) == [("haze", "user")]


def test_a_free_prompt_that_resembles_clean_is_understood_so_and_repairs_what_it_resembles_next(build):
    done = restored(build(prompts="free", guess=sees(clean=0.6, noise=0.3)), "a fine photo")
    assert done.report.understood.label == "clean" and repairs(done) == [("noise", "user")]
