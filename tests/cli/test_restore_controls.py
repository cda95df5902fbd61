"""`undegrade restore` with presets, scale, crop, variants and provenance, and its report, on untrained networks."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.photo.provenance import source_type_of
from models.photo.read import read_photo

PASS = ("--prompt", "get rid of the grain")


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def restore(with_bundle):
    def run(path, *words, code=0):
        result = with_bundle("restore", path, *PASS, *words)
        assert result.code == code, result.err
        return result

    return run


def test_a_crop_of_all_and_scale_1_change_nothing(restore, photo):
    photo("a.png")
    height, width = pixels("a.png").shape[:2]
    for out, words in (("x.png", ()), ("y.png", ("--crop", f"0,0,{width},{height}", "--scale", 1, "--variants", 1))):
        restore("a.png", "-o", out, *words)
    assert Path("x.png").read_bytes() == Path("y.png").read_bytes()


def test_a_crop_is_the_result_and_the_comparison(restore, photo):
    restore(photo("a.png"), "--crop", "3,2,20,10", "--compare", "side", "-o", "part.png")
    assert pixels("part.png").shape == (10, 20, 3)
    assert np.array_equal(pixels("part.compare.png")[:, :20], pixels("a.png")[2:12, 3:23])


@pytest.mark.parametrize("scale", [2, 4])
def test_an_enlarged_photo_has_so_many_times_the_sides(restore, photo, scale):
    restore(photo("a.png"), "--scale", scale)
    height, width = pixels("a.png").shape[:2]
    assert pixels("a.restored.png").shape[:2] == (height * scale, width * scale)


def test_variants_are_the_results_of_their_seeds(restore, photo):
    path = photo("a.png")
    row = json.loads(restore(path, "--seed", 7, "--variants", 3, "--json").text)
    for number, seed in enumerate((7, 8, 9), 1):
        restore(path, "--seed", seed, "-o", f"{seed}.png")
        assert np.array_equal(pixels(f"a.restored-{number}.png"), pixels(f"{seed}.png"))
        assert (row["variants"][number - 1]["seed"], row["variants"][number - 1]["output"]) == (
            seed, f"a.restored-{number}.png",
        )  # fmt: skip
    again = restore(path, "--seed", 7, "--variants", 3)
    assert "a.restored-1.png already exists, skipped" in again.err


def test_variants_that_would_be_equal_are_made_once_with_a_warning(with_bundle, photo):
    result = with_bundle("restore", photo("a.png"), "--strength", 0, "--variants", 4, "--json")
    row = json.loads(result.text)
    assert (row["variants"], row["warning_codes"]) == ([], ["equal-variants"])
    assert sorted(os.listdir()) == ["a.png", "a.restored-1.png"]
    assert "all variants would be equal" in result.err


def test_the_report_has_the_change_of_the_written_pixels(restore, photo):
    row = json.loads(restore(photo("a.png"), "--json").text)
    difference = np.abs(pixels("a.restored.png").astype(int) - pixels("a.png"))
    assert row["change"]["max_levels"] == pytest.approx(difference.max(), abs=0.51)
    assert row["change"]["mean_levels"] == pytest.approx(difference.mean(), abs=0.3)
    assert row["change"]["share"] == pytest.approx((difference > 0).any(axis=2).mean(), abs=0.01)
    assert (row["understood"]["label"], row["understood"]["used"]) == ("noise", "label")
    (entry,) = row["passes"]
    assert entry["changed_share"] == pytest.approx(row["change"]["share"])


INVALID = {
    "an unknown name in strength": (("--strength", "nosie=1"), "Did you mean 'noise'"),
    "a share out of range": (("--strength", "noise=2"), "strength of noise 2.0, expected 0.0 to 1.0"),
    "a prompt that asks for something else": (("--prompt", "remove the watermark"), "It can repair noise, haze, rain"),
    "a prompt for what the bundle cannot repair": (("--prompt", "kein Schatten, bitte"), "--best-effort does"),
    "a bad crop": (("--crop", "1,2,3"), "expected x,y,width,height"),
    "a crop beyond the photo": (("--crop", "0,0,9999,1"), "which has"),
    "a scale of three": (("--scale", 3), "expected 1, 2 or 4"),
    "too many variants": (("--variants", 5), "expected 1 to 4"),
    "an unknown preset": (("--preset", "best"), "'faithful'"),
    "variants to stdout": (("--variants", 2, "-o", "-"), "the result goes to stdout"),
    "an unknown policy": (("--provenance", "yes"), "'c2pa'"),
    "no certificate": (("--provenance", "c2pa"), "UNDEGRADE_SIGNING_CERTIFICATE is not set"),
}


@pytest.mark.parametrize("case", INVALID)
def test_a_wrong_option_is_a_usage_error(with_bundle, photo, case):
    words, sentence = INVALID[case]
    result = with_bundle("restore", photo("a.png"), *words)
    assert (result.code, result.out, os.listdir()) == (2, b"", ["a.png"])
    assert sentence in " ".join(result.err.replace("│", " ").split())


def test_a_crop_that_does_not_fit_one_photo_leaves_the_others(with_bundle, photo):
    photo("in/a.png", height=64, width=64)
    photo("in/b.png", height=16, width=16)
    result = with_bundle("restore", "in", "-o", "out/", "--strength", 0, "--crop", "0,0,40,40")
    assert (result.code, os.listdir("out")) == (1, ["a.png"])
    assert "in/b.png: got crop 0,0,40,40" in result.err


@pytest.mark.parametrize(("words", "kind"), [
    ((), "compositeWithTrainedAlgorithmicMedia"), (("--provenance", "off"), None), (("--strength", 0), None),
])  # fmt: skip
def test_a_result_is_marked_unless_that_is_off_or_nothing_changed(with_bundle, photo, words, kind):
    prompt = () if "--strength" in words else PASS
    assert with_bundle("restore", photo("a.png"), *prompt, *words).code == 0
    assert source_type_of(read_photo(Path("a.restored.png")).metadata.xmp) == kind


def test_the_setting_is_the_default_of_the_option(with_bundle, photo, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_PROVENANCE", "off")
    assert with_bundle("restore", photo("a.png"), *PASS).code == 0
    assert source_type_of(read_photo(Path("a.restored.png")).metadata.xmp) is None


def test_a_preset_sets_what_is_not_given(with_bundle, photo):
    row = json.loads(with_bundle("restore", photo("a.png"), *PASS, "--preset", "preview", "--json").text)
    assert row["steps"] == 2  # the bundle's own, which are fewer than eight
    row = json.loads(with_bundle("restore", "a.png", *PASS, "--preset", "preview", "--steps", 9, "--json",
                                 "-o", "b.png").text)  # fmt: skip
    assert row["steps"] == 9
