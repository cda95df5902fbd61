"""The ranges of the controls, and the degradations that `only` and `skip` leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.controls import Controls, allowed_names, renormalized
from models.errors import ControlsError
from models.vocabulary import CLEAN

KNOWN = ("noise", "haze", "rain", CLEAN)


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("strength", 0, 1), ("fidelity", 0, 1), ("max_passes", 1, 100), ("steps", 1, 1000),
        ("seed", 0, 2**63 - 1), ("text_guidance", 0, 30), ("image_guidance", 0, 30),
    ],
)  # fmt: skip
def test_a_control_takes_its_range_and_nothing_beyond(field, low, high):
    for value in (low, high):
        assert getattr(Controls(**{field: value}), field) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ControlsError, match=rf"got {field} {value}, expected {low}"):
            Controls(**{field: value})


def test_every_degradation_is_allowed_by_default():
    assert allowed_names(KNOWN, (), ()) == KNOWN


@pytest.mark.parametrize(
    ("only", "skip", "left"),
    [
        (("haze",), (), ("haze", CLEAN)),
        (("fog", "grain"), (), ("noise", "haze", CLEAN)),
        ((), ("rain",), ("noise", "haze", CLEAN)),
        (("haze", "rain"), ("rain",), ("haze", CLEAN)),
        ((), ("clean",), KNOWN),
    ],
)
def test_only_and_skip_take_names_away_and_always_leave_clean(only, skip, left):
    assert allowed_names(KNOWN, only, skip) == left


@pytest.mark.parametrize(("only", "skip"), [(("fgo",), ()), ((), ("fgo",))])
def test_an_unknown_word_is_refused_with_the_nearest_one(only, skip):
    with pytest.raises(ControlsError, match=r"'fgo'.*Did you mean 'haze'"):
        allowed_names(KNOWN, only, skip)


def test_a_degradation_that_the_bundle_cannot_repair_is_refused_with_a_list():
    with pytest.raises(ControlsError, match="does not know 'snow'; it knows noise, haze, rain"):
        allowed_names(KNOWN, ("snow",), ())


@pytest.mark.parametrize(("only", "skip"), [(("haze",), ("haze",)), ((), ("noise", "haze", "rain")), (("clean",), ())])
def test_leaving_nothing_to_consider_is_refused(only, skip):
    with pytest.raises(ControlsError, match="nothing to consider"):
        allowed_names(KNOWN, only, skip)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.sets(st.sampled_from(KNOWN), min_size=1))
def test_probabilities_among_fewer_names_sum_to_one_and_keep_their_order(values, allowed):
    whole = dict(zip(KNOWN, values, strict=True))
    left = renormalized(whole, sorted(allowed))
    assert sum(left.values()) == pytest.approx(1)
    for a in left:
        for b in left:
            assert whole[a] > whole[b] or left[a] <= left[b] or sum(whole[name] for name in left) == 0
