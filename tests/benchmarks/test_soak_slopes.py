"""The arithmetic of a soak run against series whose slope is known, and quantiles of a printed table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from soak_figure import draw
from soak_slopes import DAY_S, LEAST_SAMPLES, independent_samples, slope, student_quantile

MINUTES = np.arange(60) * 60.0


@given(st.floats(-50, 50), st.floats(1, 1e9))
def test_a_straight_line_has_its_own_growth_and_no_doubt(percent_a_day, mean):
    centered = MINUTES - MINUTES.mean()
    found = slope(MINUTES, mean * (1 + percent_a_day / 100 * centered / DAY_S))
    assert found.mean == pytest.approx(mean)
    assert found.percent == pytest.approx(percent_a_day, abs=1e-4)
    assert found.reach_percent < 1e-3


def test_a_constant_has_no_growth_and_holds():
    found = slope(MINUTES, np.full(60, 7.0))
    assert (found.percent, found.low, found.high) == (0, 0, 0)
    assert found.verdict(1.0) == "holds"


def series(correlation, generator, size):
    """An autoregressive series of order 1, after it has forgotten its start."""
    values = np.zeros(size + 200)
    for index in range(1, len(values)):
        values[index] = correlation * values[index - 1] + generator.normal()
    return values[200:]


@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.92), (0.5, 0.88), (0.8, 0.86)])
def test_most_intervals_hold_the_true_growth_also_where_samples_follow_each_other(correlation, least):
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        values = 1000 * (1 + 0.10 * MINUTES / DAY_S) + series(correlation, generator, 60)
        truth = 10.0 * 1000 / values.mean()
        found = slope(MINUTES, values)
        inside += found.low <= truth <= found.high
    assert inside / 400 >= least


def test_a_leak_that_is_larger_than_the_noise_grows_and_a_small_one_stays_open():
    noise = series(0.5, np.random.default_rng(2), 60)
    assert slope(MINUTES, 1000 * (1 + 5 * MINUTES / DAY_S) + noise).verdict(1.0) == "grows"
    small = slope(MINUTES, 1000 * (1 + 0.005 * MINUTES / DAY_S) + noise)
    assert small.verdict(1.0) == "open" and small.reach_percent > 1


@pytest.mark.parametrize(
    ("freedom", "printed"), [(2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_the_quantiles_are_those_of_printed_tables(freedom, printed):
    assert student_quantile(freedom) == pytest.approx(printed, rel=0.01)


def test_correlated_samples_count_less():
    counts = [independent_samples(correlation, 100) for correlation in (-0.5, 0.0, 0.5, 0.9)]
    assert counts[0] == 100 and counts == sorted(counts, reverse=True) and counts[-1] < 10


@pytest.mark.parametrize(
    "values", [[1.0] * (LEAST_SAMPLES - 1), [1.0] * 8 + [float("nan")], [1.0] * 8 + [float("inf")]]
)
def test_a_series_that_says_nothing_is_refused(values):
    with pytest.raises(ValueError, match="expected"):
        slope([60.0 * i for i in range(len(values))], values)


def test_times_must_rise():
    with pytest.raises(ValueError, match="rising"):
        slope([0.0] * 10, [1.0] * 10)


def test_the_figure_has_a_line_for_each_series():
    rows = [{"at_s": 60.0 * i, "api memory": 2**20 * (100 + i), "p99 ms": 5.0} for i in range(10)]
    del rows[3]["p99 ms"]
    figure = draw(rows)
    assert figure.count("<polyline") == 2 and "100.0 to 109.0 MiB" in figure
