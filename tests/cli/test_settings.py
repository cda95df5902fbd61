"""Settings that name several things."""

import numpy as np
import pytest
from PIL import Image

from cli.console import Exit
from cli.settings import Settings


@pytest.mark.parametrize(
    ("value", "served"),
    [
        ("", (None,)),
        ("daclip-small", ("daclip-small",)),
        ("autodir-small, daclip-small", ("autodir-small", "daclip-small")),
        (" , /bundles/mine,", ("/bundles/mine",)),
    ],
)
def test_several_bundles_are_named_with_commas_and_the_first_is_the_default(monkeypatch, value, served):
    monkeypatch.setenv("UNDEGRADE_BUNDLE", value)
    assert Settings().served == served
    assert Settings().default_bundle == served[0]


@pytest.mark.parametrize("words", [("models", "show"), ("evaluate", "nothing", "--out", "rows")])
def test_a_command_that_takes_one_bundle_takes_the_first(monkeypatch, undegrade, tmp_path, words):
    """Two names are no folder's name: what is not there is named singly."""
    monkeypatch.setenv("UNDEGRADE_BUNDLE", "missing-one,missing-two")
    (tmp_path / "eval/denoise/lq").mkdir(parents=True)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "eval/denoise/lq/a.png")
    ended = undegrade(*(tmp_path / "eval" if word == "nothing" else word for word in words))
    assert ended.code == Exit.MODEL and "missing-one" in ended.err and "missing-two" not in ended.err
