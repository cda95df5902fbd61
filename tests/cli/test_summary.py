"""The words about a photo are true: checked against the pixels and the probabilities themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.summary import STILL_PROBABLE, changed_visibly, summary
from models.autodir.config import LoopConfig
from models.restoration_report import PassReport, Report


def report(stop_reason, *after):
    passes = tuple(
        PassReport(label=f"kind{i}", source="auto", by="network", probability_before=0.9, probability_after=value,
                   kept=True, seconds=1)
        for i, value in enumerate(after)
    )  # fmt: skip
    return Report(degradations={"noise": 0.9}, passes=passes, stop_reason=stop_reason, seed=0, steps=1)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1), st.booleans())
def test_a_visible_change_is_more_than_one_level_of_eight_bits(pairs, deep):
    kind, levels = (np.uint16, 257) if deep else (np.uint8, 1)
    before, after = (
        (np.array([pair[side] for pair in pairs]) * levels).astype(kind).reshape(1, -1, 1) for side in (0, 1)
    )
    assert changed_visibly(before, after) == any(abs(a - b) > 1 for a, b in pairs)


@pytest.mark.parametrize("stop_reason", ["clean", "uncertain", "did-not-help", "max-passes", "strength-zero", "other"])
@pytest.mark.parametrize("changed", [True, False])
def test_no_visible_change_is_said_always_and_only_then(stop_reason, changed):
    assert ("(no visible change)" in summary(report(stop_reason, 0.1), changed=changed)) is not changed


@given(st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_clean_is_said_only_where_nothing_probable_is_left(after):
    words = summary(report("clean", *after), changed=True)
    left = [f"kind{i}" for i, value in enumerate(after) if value >= LoopConfig().floor]
    assert ("now clean" in words) is not bool(left)
    assert all(name in words.rpartition(";")[2] for name in left)
    assert LoopConfig().floor == STILL_PROBABLE
