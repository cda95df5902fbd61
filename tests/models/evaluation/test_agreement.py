"""Confidence intervals against the published table of Student's t, and against simulated benchmarks."""

import numpy as np
import pytest

from models.evaluation.agreement import FEWEST, WIDEST_DB, compare, student_t

TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 7: 2.365, 10: 2.228, 20: 2.086, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize("freedom", TABLE)
def test_the_quantile_is_that_of_the_printed_table(freedom):
    assert student_t(freedom) == pytest.approx(TABLE[freedom], rel=0.003)


def test_the_interval_holds_the_benchmarks_mean_in_95_of_100_samples():
    """Benchmarks of 100 images and samples of 20: without the correction for the finite benchmark it would be 97."""
    generator, held, trials = np.random.default_rng(7), 0, 4000
    for _ in range(trials):
        benchmark = generator.normal(30, 3, 100)
        found = compare(list(generator.choice(benchmark, 20, replace=False)), 0.0, 100)
        held += found.low_db <= benchmark.mean() <= found.high_db
    assert held / trials == pytest.approx(0.95, abs=0.012)


def test_all_images_of_a_benchmark_leave_no_doubt():
    psnrs = [20.0, 40.0, 30.0]
    assert (compare(psnrs, 30.05, 3).verdict, compare(psnrs, 30.3, 3).verdict) == ("agrees", "differs")
    assert compare([30.0], 30.0, 1).verdict == "agrees"


@pytest.mark.parametrize("count", range(1, FEWEST))
def test_one_or_two_images_tell_nothing(count):
    assert compare([30.0, 30.1][:count], 20.0, 100).verdict == "too few images to tell"


def test_a_wide_interval_that_holds_the_figure_is_no_agreement_but_one_beside_it_is_a_difference():
    wide = [25.0, 30.0, 35.0, 28.0, 32.0]
    found = compare(wide, 31.0, 1000)
    assert found.high_db - found.mean_db > WIDEST_DB and found.verdict == "too few images to tell"
    assert compare(wide, 50.0, 1000).verdict == "differs"
    narrow = [30.0 + 0.1 * (index % 3) for index in range(30)]
    assert (compare(narrow, 30.1, 1000).verdict, compare(narrow, 31.0, 1000).verdict) == ("agrees", "differs")
