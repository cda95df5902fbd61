"""What the iterative loop decides, from probabilities alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.autodir.policy import choose, choose_published, improved
from models.vocabulary import AUTODIR_NAMES, CLEAN

KNOWN = ("noise", "haze", "rain", CLEAN)
SEEN = {"noise": 0.5, "haze": 0.2, "rain": 0.1, CLEAN: 0.2}


def test_the_most_probable_name_is_repaired():
    assert choose(SEEN, KNOWN, 0.0).label == "noise"


def test_a_repaired_name_leaves_the_published_softmax():
    choice = choose_published(SEEN, ("haze", "rain", CLEAN))
    assert choice.probabilities == pytest.approx({"haze": 0.4, "rain": 0.2, CLEAN: 0.4})


def test_clean_stops_before_restoring():
    choice = choose({"noise": 0.2, CLEAN: 0.8}, ("noise", CLEAN), 0.0)
    assert (choice.label, choice.stop) == (None, "clean")


@pytest.mark.parametrize(("rest", "floor"), [({"haze": 0.001, CLEAN: 0.02}, 0.4), ({"haze": 0.011, CLEAN: 0.01}, 0.7)])
def test_what_left_the_list_but_not_the_picture_is_not_called_clean(rest, floor):
    choice = choose({"noise": 0.979, **rest}, ("haze", CLEAN), floor)
    assert (choice.label, choice.stop) == (None, "still-degraded")


def test_below_the_floor_the_image_is_left_alone():
    assert choose(SEEN, KNOWN, 0.51).stop == "uncertain"
    assert choose(SEEN, KNOWN, 0.5).label == "noise"


def test_a_floor_is_compared_among_the_names_that_the_user_named():
    assert choose(SEEN, ("noise", CLEAN), 0.7, named=("noise",)).label == "noise"  # 0.5 of 0.7
    assert choose(SEEN, ("noise", CLEAN), 0.7, named=("noise", "haze")).stop == "uncertain"  # 0.5 of 0.9


@given(
    shares=st.lists(st.floats(0.001, 1), min_size=len(KNOWN), max_size=len(KNOWN)),
    gone=st.sets(st.sampled_from(KNOWN[:-1]), max_size=2),
    floor=st.floats(0, 1),
)
def test_what_left_the_list_makes_no_other_damage_probable(shares, gone, floor):
    """A skipped or repaired name never starts a repair that would not be probable enough beside it."""
    seen = {name: share / sum(shares) for name, share in zip(KNOWN, shares, strict=True)}
    remaining = tuple(name for name in KNOWN if name not in gone)
    label = choose(seen, remaining, floor).label
    if label is not None:
        assert seen[label] >= floor and seen[label] == max(seen[name] for name in remaining)


def test_an_empty_list_ends_the_loop():
    choice = choose(SEEN, (CLEAN,), 0.0)
    assert (choice.label, choice.stop) == (None, "nothing-left")


def test_the_published_list_runs_dry_after_seven_repairs():
    """Each class at most once: with a strict floor of zero and never "clean", seven passes empty the list."""
    seen = {name: 1.0 for name in AUTODIR_NAMES} | {CLEAN: 0.0}
    remaining, repaired = (*AUTODIR_NAMES, CLEAN), []
    while (label := choose_published(seen, remaining).label) is not None:
        repaired.append(label)
        remaining = tuple(name for name in remaining if name != label)
    assert repaired == list(AUTODIR_NAMES)


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ({"noise": 0.3, CLEAN: 0.2}, True),  # less of what was repaired
        ({"noise": 0.6, CLEAN: 0.3}, True),  # cleaner
        ({"noise": 0.5, CLEAN: 0.2}, False),  # nothing changed
        ({"noise": 0.9, CLEAN: 0.1}, False),  # worse
    ],
)
def test_a_pass_is_kept_when_it_helped(after, kept):
    assert improved("noise", SEEN, after) is kept


def test_a_repair_may_want_more_confidence_than_the_others():
    assert choose(SEEN, KNOWN, 0.35, {"haze": 0.7}).label == "noise"
    assert choose(SEEN, KNOWN, 0.35, {"noise": 0.7}).stop == "uncertain"
    assert choose(SEEN, KNOWN, 0.6, {"noise": 0.1}).stop == "uncertain", "never less than the loop's own"
