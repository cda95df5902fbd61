"""The computed training hours: FLOPs by the published figure of a known network, and the arithmetic."""

import pytest


@pytest.fixture
def hours():
    import training_hours

    return training_hours


@pytest.mark.slow
def test_the_assessor_has_the_flops_of_vit_l_14(hours):
    """Dosovitskiy et al. 2021: 24 blocks on 257 tokens of width 1024, each 24 n d^2 + 4 n^2 d FLOPs, and the patches.

    Two pictures (with the clean twin), three passes (forward, and backward twice as many).
    """
    tokens, width, patch = 257, 1024, 3 * 14**2
    one = 24 * (24 * tokens * width**2 + 4 * tokens**2 * width) + 2 * (tokens - 1) * patch * width
    assert hours.assessor() == pytest.approx(2 * 3 * one, rel=0.01)


def test_hours_are_flops_by_flops_per_second(hours):
    """3.6e15 FLOPs on 1 TFLOP/s at half of its peak take 7,200 s."""
    assert hours.h100_hours(3.6e12, 1000, 1.0, 0.5) == pytest.approx(2.0)


def test_each_of_the_four_systems_has_a_row(hours):
    schedule = hours.Schedule(system="A", stage="b", step=lambda: 10**12, batch=2, steps=1000, how="stated")
    row = hours.table((schedule,), 1.0).splitlines()[-1]
    assert row == "| A | `b` | 1.000 | 2 | 1,000 | bfloat16 | 0.0 |"
    assert {entry.system for entry in hours.SCHEDULES} == {"AutoDIR", "DA-CLIP", "wild-IR", "ETDiffIR"}
