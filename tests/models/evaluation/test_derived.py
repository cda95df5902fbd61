"""Derived pairs: turned pixels are those of the file, and mixtures are the same in every run."""

import numpy as np
import pytest

from models.evaluation.derived import MIXED, TURNED, mixed_pairs, read_derived, turned_name, turned_pairs
from models.evaluation.mixtures import MIXTURES, damaged, synthetic_kinds
from models.evaluation.pairs import center_crop, find_pairs, read_picture
from models.vocabulary import DEGRADATIONS


@pytest.fixture
def tree(tmp_path, write):
    """Two denoise pairs, which are not square, and a snow photo without a ground truth."""
    for seed, name in enumerate(["a.png", "b.png"]):
        write(tmp_path / "denoise/lq" / name, seed=seed, width=90, height=70)
        write(tmp_path / "denoise/gt" / name, seed=seed + 10, width=90, height=70)
    write(tmp_path / "snow/lq/c.png", seed=4, width=90, height=70)
    return tmp_path


def test_each_pair_is_turned_by_three_angles_and_keeps_its_label(tree):
    turned = turned_pairs(find_pairs(tree))
    assert {(pair.task, pair.name, pair.expected) for pair in turned} == {
        *((TURNED, f"denoise/{name}@{angle}", "noise") for name in ("a.png", "b.png") for angle in (90, 180, 270)),
        *((TURNED, f"snow/c.png@{angle}", "snow") for angle in (90, 180, 270)),
    }


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_pair_has_the_turned_pixels_of_its_crop(tree, turns):
    (pair,) = [of for of in turned_pairs(find_pairs(tree)) if of.name == turned_name("denoise", "a.png", turns)]
    pictures = read_derived(pair, 48)
    for picture, part in ((pictures.degraded, "lq"), (pictures.truth, "gt")):
        upright = center_crop(read_picture(tree / "denoise" / part / "a.png"), 48)
        np.testing.assert_array_equal(picture, np.rot90(upright, turns))
    assert pictures.whole == ((90, 70) if turns % 2 else (70, 90))


def test_a_turned_photo_without_a_truth_has_none(tree):
    pair = next(of for of in turned_pairs(find_pairs(tree)) if of.name.startswith("snow/"))
    assert read_derived(pair).truth is None


def test_a_plain_pair_is_read_as_it_is(tree):
    pair = find_pairs(tree)[0]
    np.testing.assert_array_equal(read_derived(pair).degraded, read_picture(pair.degraded))


def test_every_mixture_is_there_as_often_as_asked_even_with_few_photos(tree):
    mixed = mixed_pairs(find_pairs(tree), 3, seed=0)
    assert {pair.task for pair in mixed} == {MIXED}
    assert sorted(pair.kinds for pair in mixed) == sorted(MIXTURES * 3)
    assert len({pair.name for pair in mixed}) == 30
    assert mixed_pairs(find_pairs(tree, ["snow"]), 3, seed=0) == []


def test_a_mixture_damages_the_truth_the_same_way_for_a_seed_and_otherwise_for_another(tree):
    pairs = find_pairs(tree)
    first, again, other = (read_derived(mixed_pairs(pairs, 1, seed)[0], 64) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.degraded, again.degraded)
    assert (first.degraded != other.degraded).any()
    assert (first.degraded != first.truth).any()


def test_mixtures_are_ten_pairs_of_kinds_that_can_be_made_and_named():
    assert len({frozenset(kinds) for kinds in MIXTURES}) == 10
    assert {kind for kinds in MIXTURES for kind in kinds} <= set(synthetic_kinds()) <= {of.name for of in DEGRADATIONS}


@pytest.mark.parametrize("kinds", MIXTURES)
def test_damage_is_added_in_the_order_of_physics_whatever_the_order_of_the_names(kinds):
    clean = np.random.default_rng(0).integers(0, 255, (48, 48, 3)).astype(np.uint8)
    one, other = (damaged(clean, names, np.random.default_rng(1)) for names in (kinds, kinds[::-1]))
    np.testing.assert_array_equal(one, other)
    assert one.dtype == np.uint8 and one.shape == clean.shape
