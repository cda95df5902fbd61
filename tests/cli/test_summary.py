"""The words about a photo are true: checked against the pixels and the probabilities themselves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.summary import changed_visibly, summary
from models.restoration_report import PassReport, Report
from undegrade_client.views import Pass


def report(stop_reason, *after):
    passes = tuple(
        PassReport(label=f"kind{i}", source="auto", by="network", probability_before=0.9, probability_after=value,
                   kept=True, seconds=1)
        for i, value in enumerate(after)
    )  # fmt: skip
    return Report(degradations={"noise": 0.9}, passes=passes, stop_reason=stop_reason, seed=0, steps=1)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1), st.booleans())
def test_a_visible_change_is_more_than_a_level_on_average_or_large_somewhere(pairs, deep):
    kind, levels = (np.uint16, 257) if deep else (np.uint8, 1)
    before, after = (
        (np.array([pair[side] for pair in pairs]) * levels).astype(kind).reshape(1, -1, 1) for side in (0, 1)
    )
    steps = [abs(a - b) for a, b in pairs]
    seen = max(steps) > 1 and (sum(steps) / len(steps) >= 1 or max(steps) >= 16)
    assert changed_visibly(before, after) == seen


@pytest.mark.parametrize("stop_reason", ["clean", "uncertain", "did-not-help", "max-passes", "strength-zero", "other"])
@pytest.mark.parametrize("changed", [True, False])
def test_no_visible_change_is_said_always_and_only_then(stop_reason, changed):
    assert ("(no visible change)" in summary(report(stop_reason, 0.1), changed=changed)) is not changed


def test_a_photo_that_nothing_looked_at_has_no_findings():
    unseen = Report(degradations={}, passes=(), stop_reason="strength-zero", seed=0, steps=0)
    assert summary(unseen, changed=False) == (
        "not looked at; repaired nothing (no visible change); strength 0 returns the input"
    )


@pytest.mark.parametrize("stop_reason", ["still-degraded", "uncertain", "did-not-help", "max-passes", "nothing-left"])
def test_clean_is_said_only_where_the_report_says_it(stop_reason):
    assert "now clean" in summary(report("clean", 0.1), changed=True)
    assert "already clean" in summary(report("clean"), changed=False)
    words = summary(report(stop_reason, 0.979), changed=True)
    assert "now clean" not in words and "already clean" not in words


@pytest.mark.parametrize(
    ("most", "mean", "seen"),
    [(1, 1, False), (11, 0.97, False), (16, 0.1, True), (3, 1, True), (2, None, True), (None, None, True)],
)
def test_a_repair_that_nobody_sees_is_not_claimed(most, mean, seen):
    """The client says the same: it cannot import the rule."""
    numbers = {"max_change_levels": most, "mean_change_levels": mean}
    entry = PassReport(
        label="blur", source="auto", by="diffusion", probability_before=0.9, probability_after=0.1, kept=True,
        seconds=1.0, **numbers,
    )  # fmt: skip
    line = summary(replace(report("clean", 0.1), passes=(entry,)), changed=seen)
    assert ("repaired blur" in line, "now clean" in line) == (seen, seen)
    assert ("repaired nothing (no visible change); already clean" in line) is not seen
    theirs = Pass(
        label="blur", kept=True, by="diffusion", probability_before=0.9, probability_after=0.1, seconds=1.0,
        max_change_levels=most, raw=numbers,
    )  # fmt: skip
    assert entry.visible is theirs.visible is seen
