"""`undegrade restore --prompt`: what is refused and when, the best effort, and what the report says."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.prompts import check_prompt
from cli.summary import understood_words
from models.controls import Controls
from models.errors import PromptNotUnderstood
from models.restoration_report import Understood


@pytest.fixture
def row(with_bundle, photo):
    """Restores a photo with a prompt; returns the row of --json."""

    def run(prompt, *words):
        result = with_bundle("restore", photo("a.png"), "--prompt", prompt, "--json", *words)
        assert result.code == 0, result.err
        return json.loads(result.text)

    return run


@pytest.mark.parametrize(("prompt", "repaired"), [
    ("remove the noise and the haze", ["noise", "haze"]), ("quita la lluvia", ["rain"]),
    ("zuerst den Nebel entfernen, dann das Rauschen", ["haze", "noise"]),
])  # fmt: skip
def test_each_repair_that_the_words_ask_for_is_a_pass(row, prompt, repaired):
    done = row(prompt)
    assert [(one["label"], one["source"]) for one in done["passes"]] == [(name, "user") for name in repaired]
    assert (done["understood"]["answer"], done["understood"]["repairs"]) == ("repairs", repaired)


def test_a_photo_that_is_to_stay_as_it_is_stays_so(row):
    done = row("leave it as it is")
    with Image.open("a.png") as before, Image.open("a.restored.png") as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))
    assert (done["stop_reason"], done["passes"], done["change"]["share"]) == ("nothing-asked", [], 0)


def test_the_best_effort_warns_of_what_it_does(row):
    assert row("remove the watermark", "--best-effort")["warning_codes"] == ["guessed-prompt"]


def test_a_refused_prompt_loads_no_weights(with_bundle, photo, bundles, tmp_path):
    damaged = tmp_path / "without-weights"
    damaged.mkdir()
    (damaged / "bundle.json").write_bytes((bundles / "autodir-small" / "bundle.json").read_bytes())
    result = with_bundle("restore", photo("a.png"), "--prompt", "remove the watermark", "--bundle", damaged)
    assert result.code == 2 and "not understood" in result.err and not Path("a.restored.png").exists()


def test_strict_mode_takes_free_prompts(bundles):
    bundle = str(bundles / "autodir-small")
    check_prompt(bundle, Controls(prompt="remove the watermark", strict=True))
    check_prompt(bundle, Controls())
    with pytest.raises(PromptNotUnderstood):
        check_prompt(bundle, Controls(prompt="remove the watermark"))


@pytest.mark.parametrize(("understood", "words"), [
    (Understood(label="noise", score=0.9, used="label", answer="repairs", repairs=("noise", "rain"), kept=("haze",),
                language="de"), "understood as noise, rain, but not haze (de)"),
    (Understood(label="clean", score=0.9, used="nothing", answer="nothing", language="en"),
     "understood as do nothing (en)"),
    (Understood(label="auto", score=0.9, used="label", answer="auto", language="en", ignored=("please",)),
     'understood as repair what is found (en), without "please"'),
    (Understood(label="raindrop", score=0.99, used="label", answer="unknown"), "understood as raindrop (99%)"),
    (Understood(label="haze", score=0.4, answer="repairs", repairs=("noise",), language="en"),
     "understood as haze (40%)"),
])  # fmt: skip
def test_the_line_about_a_photo_says_how_its_prompt_was_understood(understood, words):
    assert understood_words(understood) == words
