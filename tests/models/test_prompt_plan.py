"""What a bundle does for a prompt: repairs that it knows, nothing, its own choice; anything else is refused."""

import json
import pickle
from pathlib import Path

import pytest

from models.controls import Controls
from models.errors import ControlsError, PromptNotUnderstood
from models.prompt_plan import plan_for, plan_prompt, style_of, wish_of
from models.vocabulary import CLEAN, DEGRADATIONS, PROMPT_TEMPLATE

KNOWN = ("noise", "blur", "rain", "low-light", "haze", "low-resolution", "raindrop", "jpeg", "snow")
BUNDLES = Path(__file__).parents[2] / "models" / "bundles"
MISREAD = Path(__file__).parents[3] / "shared" / "cases" / "prompts-misread" / "prompts.txt"
HARMLESS = {"do nothing", "don't touch the noise", "no denoise"}


@pytest.mark.parametrize(("prompt", "repairs"), [
    ("remove the noise and the rain", ("noise", "rain")), ("first brighten it, then denoise", ("low-light", "noise")),
    ("entferne den Nebel", ("haze",)), ("quita el ruido", ("noise",)), ("去噪", ("noise",)),
    ("denoise but don't brighten", ("noise",)),
])  # fmt: skip
def test_repairs_are_done_in_the_users_order(prompt, repairs):
    plan = plan_prompt(prompt, KNOWN)
    assert (plan.action, plan.repairs, plan.warnings) == ("repairs", repairs, ())
    assert plan.understood("label").label == repairs[0] and plan.understood("label").repairs == repairs


def test_what_is_kept_is_neither_chosen_nor_owed():
    names = (*KNOWN, CLEAN)
    plan = plan_prompt("make it better, but keep the grain", KNOWN)
    assert plan.action == "auto" and plan.allowed(names) == tuple(name for name in names if name != "noise")
    wished = plan_prompt("remove the noise", KNOWN)
    assert wished.allowed(names, owed=("low-resolution",)) == ("noise", "low-resolution", CLEAN)
    assert plan_prompt("do nothing", KNOWN).allowed(names) == (CLEAN,)


@pytest.mark.parametrize(("prompt", "cannot"), [
    ("remove the watermark", ()), ("xyzzy", ()), ("....", ()), ("remove the shadow", ("shadow",)),
    ("remove the noise and the shadow", ("shadow",)),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_with_what_can_be_done(prompt, cannot):
    with pytest.raises(PromptNotUnderstood) as refused:
        plan_prompt(prompt, KNOWN)
    error = refused.value
    assert (error.can, error.cannot) == (KNOWN, cannot) and ", ".join(KNOWN) in str(error)
    assert isinstance(error, ControlsError)
    travelled = pickle.loads(pickle.dumps(error))  # the engine is another process
    assert (str(travelled), travelled.can, travelled.cannot) == (str(error), error.can, error.cannot)


def test_the_best_effort_does_the_rest_and_says_what_it_leaves():
    plan = plan_prompt("remove the noise and the shadow", KNOWN, best_effort=True)
    assert plan.repairs == ("noise",) and [warning.code for warning in plan.warnings] == ["partial-prompt"]
    assert plan.understood("label").repairs == ("noise", "shadow")


def test_a_guess_is_over_all_names_and_never_what_is_kept():
    plan = plan_prompt("remove the watermark, but keep the rain", KNOWN, best_effort=True)
    assert plan.action == "nearest"
    guessed = plan.nearest({"rain": 0.6, "noise": 0.3, CLEAN: 0.1})
    assert (guessed.action, guessed.repairs, guessed.score) == ("repairs", ("noise",), 0.3)
    assert [warning.code for warning in guessed.warnings] == ["guessed-prompt"]
    nothing = plan.nearest({"rain": 0.1, "noise": 0.3, CLEAN: 0.6})
    assert nothing.action == "nothing" and nothing.warnings[0].code == "guessed-prompt"


@pytest.mark.parametrize("name", [entry.name for entry in DEGRADATIONS])
def test_the_class_prompts_of_training_and_evaluation_are_exact(name):
    word = next(entry.word for entry in DEGRADATIONS if entry.name == name)
    assert wish_of(PROMPT_TEMPLATE.format(word), KNOWN).repairs == (name,)


def test_a_learned_word_is_understood_by_the_bundle_that_knows_it():
    assert plan_prompt("remove the banding", (*KNOWN, "banding")).repairs == ("banding",)
    assert plan_prompt("A photo needs banding artifact reduction", (*KNOWN, "banding")).repairs == ("banding",)
    with pytest.raises(PromptNotUnderstood):
        plan_prompt("remove the banding", KNOWN)


def test_free_prompts_and_strict_mode_have_no_plan():
    def never(prompt):
        raise AssertionError

    controls = Controls(prompt="remove the watermark")
    assert plan_for(controls, "free", KNOWN, never) is None
    assert plan_for(Controls(prompt="remove the watermark", strict=True), "words", KNOWN, never) is None
    assert plan_for(Controls(), "words", KNOWN, never) is None
    with pytest.raises(PromptNotUnderstood):
        plan_for(controls, "words", KNOWN, never)


@pytest.mark.parametrize("bundle", ["autodir-small", "daclip-small"])
def test_the_shipped_bundles_take_words(bundle):
    path = BUNDLES / bundle / "bundle.json"
    if not path.is_file():
        pytest.skip(f"{bundle} is not shipped")
    manifest = json.loads(path.read_text())
    assert style_of(manifest["networks"], manifest.get("prompts")) == "words"


@pytest.mark.parametrize(("networks", "style"), [
    ({}, "free"), ({"clip": {"text": {"width": 768}}}, "free"), ({"clip": {"text": {"width": 512}}}, "free"),
    ({"clip": {"text": {"width": 128}}}, "words"), ({"controller": {"clip": {"text": {"width": 128}}}}, "words"),
    ({"controller": {"clip": {}}}, "free"),
])  # fmt: skip
def test_published_text_encoders_take_free_prompts(networks, style):
    assert style_of(networks) == style
    assert style_of(networks, "free") == "free" and style_of(networks, "words") == "words"


def test_the_prompts_that_were_misread_are_refused_or_do_what_they_say():
    if not MISREAD.is_file():
        pytest.skip("needs ../shared")
    for prompt in MISREAD.read_text().splitlines():
        try:
            plan = plan_prompt(prompt, KNOWN)
        except PromptNotUnderstood:
            continue
        if prompt in HARMLESS:
            assert plan.action == "nothing", prompt
        else:  # words for noise, in other languages
            assert plan.repairs == ("noise",), prompt
