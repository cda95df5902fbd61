"""Pairs are found in a small test folder and read at one size."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.errors import ControlsError, PhotoError
from models.evaluation.pairs import (
    LABELS,
    LABELS_BY_FILE_NAME,
    SUBSETS,
    center_crop,
    clean_pairs,
    find_pairs,
    read_pictures,
)
from models.vocabulary import DEGRADATIONS


@pytest.fixture
def tree(tmp_path, write):
    """Two denoise pairs, one sr pair, and snow and real photos without ground truths."""
    for seed, name in enumerate(["cbsd68_0001_s15.png", "cbsd68_0002_s50.png"]):
        write(tmp_path / "denoise/lq" / name, seed=seed)
        write(tmp_path / "denoise/gt" / name, seed=seed + 10)
    write(tmp_path / "sr/lq/set5_001.png", 3, width=6, height=5)
    write(tmp_path / "sr/gt/set5_001.png", 13)
    write(tmp_path / "snow/lq/csd_1.png", seed=4)
    write(tmp_path / "real/lq/rni15_Dog.png", seed=5)
    write(tmp_path / "real/lq/holiday.png", seed=6)
    (tmp_path / "denoise/lq/notes.txt").write_text("no picture")
    return tmp_path


def test_every_photo_is_found_with_its_ground_truth_subset_and_label(tree):
    found = {(pair.task, pair.name): (pair.subset, pair.expected, pair.truth is not None) for pair in find_pairs(tree)}
    assert found == {
        ("denoise", "cbsd68_0001_s15.png"): ("CBSD68 noise 15", "noise", True),
        ("denoise", "cbsd68_0002_s50.png"): ("CBSD68 noise 50", "noise", True),
        ("sr", "set5_001.png"): ("Set5 x4", "low-resolution", True),
        ("snow", "csd_1.png"): ("snow", "snow", False),
        ("real", "rni15_Dog.png"): ("real", "noise", False),
        ("real", "holiday.png"): ("real", None, False),
    }


def test_only_the_requested_tasks_are_found(tree):
    assert {pair.task for pair in find_pairs(tree, ["sr", "snow"])} == {"sr", "snow"}


def test_an_unknown_task_is_refused_with_the_available_tasks(tree):
    with pytest.raises(ControlsError, match=r"'deblur'.*denoise, real, snow, sr"):
        find_pairs(tree, ["deblur"])


def test_a_folder_with_another_layout_is_refused_with_the_expected_layout(tmp_path, write):
    write(tmp_path / "photo.png")
    with pytest.raises(ControlsError, match="TASK/lq/NAME"):
        find_pairs(tmp_path)


def test_a_limit_applies_to_each_subset_and_a_higher_limit_only_adds_pairs(tree, write):
    for number in range(3, 6):
        write(tree / f"denoise/lq/cbsd68_000{number}_s15.png")
        write(tree / f"denoise/gt/cbsd68_000{number}_s15.png")
    one, three = ({pair.name for pair in find_pairs(tree, ["denoise"], limit)} for limit in (1, 3))
    assert one == {"cbsd68_0001_s15.png", "cbsd68_0002_s50.png"}
    assert one < three and len(three) == 4


def test_a_ground_truth_may_have_another_extension(tree, write):
    write(tree / "denoise/lq/nam_01.jpg")
    write(tree / "denoise/gt/nam_01.png")
    pair = next(pair for pair in find_pairs(tree) if pair.name == "nam_01.jpg")
    assert pair.truth == tree / "denoise/gt/nam_01.png"
    assert pair.subset == "Nam (camera noise)"


def test_a_missing_ground_truth_is_an_error_of_that_pair_only(tree, write):
    write(tree / "denoise/lq/lonely.png")
    by_name = {pair.name: pair for pair in find_pairs(tree)}
    with pytest.raises(PhotoError):
        read_pictures(by_name["lonely.png"])
    assert read_pictures(by_name["cbsd68_0001_s15.png"]).truth is not None


def test_pixels_are_read_unchanged(tree):
    pair = find_pairs(tree, ["denoise"])[0]
    pictures = read_pictures(pair)
    np.testing.assert_array_equal(pictures.degraded, np.asarray(Image.open(pair.degraded)))
    np.testing.assert_array_equal(pictures.truth, np.asarray(Image.open(pair.truth)))


def test_a_small_input_is_enlarged_with_bicubic_interpolation(tree):
    (pair,) = find_pairs(tree, ["sr"])
    pictures = read_pictures(pair)
    enlarged = Image.open(pair.degraded).resize((24, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pictures.degraded, np.asarray(enlarged))


@pytest.mark.parametrize("size", [(48, 40), (24, 40), (6, 20)])
def test_sizes_that_do_not_match_are_refused_with_both_sizes(tree, size, write):
    write(tree / "sr/lq/set5_001.png", 0, *size)
    (pair,) = find_pairs(tree, ["sr"])
    with pytest.raises(PhotoError, match=rf"{size[0]}x{size[1]} px.*24x20 px"):
        read_pictures(pair)


def test_both_pictures_are_cropped_alike_after_enlarging(tree):
    (pair,) = find_pairs(tree, ["sr"])
    whole, cropped = read_pictures(pair), read_pictures(pair, crop_px=8)
    for name in ("degraded", "truth"):
        np.testing.assert_array_equal(getattr(cropped, name), getattr(whole, name)[0:8, 8:16])


@pytest.mark.parametrize(("length", "side", "start"), [(100, 0, 0), (100, 100, 0), (100, 200, 0), (768, 512, 128)])
def test_a_crop_is_centered_and_never_exceeds_the_photo(length, side, start):
    picture = np.arange(length, dtype=np.int64)[:, None, None].repeat(3, axis=2)
    cropped = center_crop(picture, side)
    assert len(cropped) == (min(length, side) if side else length)
    assert cropped[0, 0, 0] == start


def test_a_crop_keeps_the_jpeg_block_grid():
    rows = np.arange(618)[:, None, None]
    start = center_crop(rows, 512)[0, 0, 0]
    assert start % 8 == 0 and abs(start - (618 - 512) / 2) < 8


def test_clean_photos_are_ground_truths_of_every_labeled_task_without_duplicates(tree, write):
    for name in ("a.png", "b.png"):
        write(tree / "underwater/lq" / name, seed=20)
        write(tree / "underwater/gt" / name, seed=21)
    (tree / "denoise/gt/cbsd68_0002_s50.png").write_bytes((tree / "denoise/gt/cbsd68_0001_s15.png").read_bytes())
    clean = clean_pairs(find_pairs(tree), limit=20)
    assert [pair.name for pair in clean] == ["denoise/cbsd68_0001_s15.png", "sr/set5_001.png"]
    assert all(pair.degraded == pair.truth and pair.expected == pair.task == "clean" for pair in clean)


def test_limited_clean_photos_are_taken_from_the_tasks_in_turn(tree):
    assert [pair.subset for pair in clean_pairs(find_pairs(tree), limit=2)] == ["of denoise", "of sr"]
    assert clean_pairs(find_pairs(tree), limit=0) == []


def test_labels_are_names_of_the_vocabulary():
    assert set(LABELS.values()) <= {degradation.name for degradation in DEGRADATIONS}


def test_every_pair_of_the_shared_sets_belongs_to_a_named_subset(shared):
    pairs = find_pairs(shared / "eval")
    assert {pair.name for pair in pairs if pair.truth is not None and pair.subset == pair.task} == set()
    assert all(pair.truth is None or pair.truth.is_file() for pair in pairs)
    used = {(task, start) for task, start, _ in SUBSETS for p in pairs if p.task == task and re.match(start, p.name)}
    assert used == {(task, start) for task, start, _ in SUBSETS}


def by_name(tmp_path, task, name):
    """Returns (subset, label) of an empty file with this name."""
    (tmp_path / task / "lq").mkdir(parents=True)
    (tmp_path / task / "lq" / name).touch()
    (pair,) = find_pairs(tmp_path)
    return pair.subset, pair.expected


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("autodir_rain.png", "rain"),
        ("autodir_rain2.png", "rain"),
        ("autodir_raindrop.png", "raindrop"),
        ("raindrop_case1.jpg", "raindrop"),
        ("realrain_07.jpg", "rain"),
        ("autodir_blurred.png", None),
        ("rainbow_1.png", None),
        ("rni150_Dog.png", None),
    ],
)
def test_the_label_of_a_real_photo_needs_a_whole_word(tmp_path, name, label):
    assert by_name(tmp_path, "real", name)[1] == label


def plain_words(pattern):
    """Returns the names that a pattern of words describes; every pattern uses only these parts of a regex."""
    for choice in pattern.replace("(autodir_)?raindrop", "raindrop|autodir_raindrop").split("|"):
        yield choice.replace(r"\w+?", "photo").replace(r"(\d+)", "15")


RULES = [
    *((task, words, subset.replace(r"\1", "15")) for task, start, subset in SUBSETS for words in plain_words(start)),
    *(("real", words, label) for start, label in LABELS_BY_FILE_NAME for words in plain_words(start)),
]


def found(task, name):
    """Returns the subset or, for the task of mixed photos, the label; None without a rule."""
    from models.evaluation import pairs

    subset = pairs._subset(task, name)
    return pairs._label(task, name) if task == "real" else subset if subset != task else None


@given(
    st.sampled_from(RULES), st.sampled_from(["", "_01", "-b", " 3", "_x_s25_q10", "._"]), st.sampled_from(["", ".png"])
)
def test_every_rule_fits_its_words_with_any_ending_that_starts_no_longer_word(rule, ending, suffix):
    task, words, expected = rule
    assert found(task, words + ending + suffix) == expected


@given(
    st.sampled_from(RULES), st.text("abcdefghijklmnopqrstuvwxyzé", min_size=1, max_size=6), st.sampled_from(["", "_1"])
)
def test_no_rule_fits_a_longer_word(rule, letters, ending):
    task, words, _ = rule
    known = {of_words for of_task, of_words, _ in RULES if of_task == task}
    longer = words + letters
    if not any(longer == of or of.startswith(longer) for of in known):
        assert found(task, longer + ending + ".png") is None
