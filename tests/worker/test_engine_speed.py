"""What a step costs, learned from steps of which the cost is known."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.engine_speed import REFUSED_IN_A_ROW, StepSpeed

SIZES_MP = (0.07, 0.26, 0.37, 0.68, 1.05, 2.1, 4.2, 8.4)
FIXED_S, S_PER_MP = 0.009, 0.020


def taught(speed, steps, fixed_s=FIXED_S, s_per_mp=S_PER_MP, sizes=SIZES_MP, noise=0.0, seed=0):
    """Steps of a device with these costs; `noise` is the relative deviation of a step."""
    draw = random.Random(seed)
    for _ in range(steps):
        megapixels = draw.choice(sizes)
        seconds = (fixed_s + s_per_mp * megapixels) * (1 + noise * draw.gauss(0, 1))
        speed.learn(megapixels, megapixels, seconds)
    return speed


def assert_knows(speed, fixed_s=FIXED_S, s_per_mp=S_PER_MP, within=0.02):
    assert speed.fixed_s == pytest.approx(fixed_s, rel=within)
    assert speed.s_per_mp == pytest.approx(s_per_mp, rel=within)


@given(fixed_s=st.floats(0.001, 0.1), s_per_mp=st.floats(0.005, 5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_both_terms_are_found_from_mixed_sizes(fixed_s, s_per_mp, seed):
    speed = taught(StepSpeed(), 300, fixed_s, s_per_mp, seed=seed)
    assert speed.s_per_mp == pytest.approx(s_per_mp, rel=0.02)
    for size in SIZES_MP:
        assert speed.expected_s(size) == pytest.approx(fixed_s + s_per_mp * size, rel=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_noisy_steps_give_the_terms_within_their_error(seed):
    assert_knows(taught(StepSpeed(), 600, noise=0.05, seed=seed), within=0.15)


def test_the_slow_first_call_of_each_shape_is_left_out():
    speed = taught(StepSpeed(), 50, sizes=(0.26, 1.05))
    for number, megapixels in enumerate(SIZES_MP * 20):
        cost_s = FIXED_S + S_PER_MP * megapixels
        speed.learn(number, megapixels, 20 * cost_s)  # a shape that was never seen
        speed.learn(number, megapixels, cost_s)
    assert_knows(speed)


def test_a_slow_very_first_step_is_soon_outweighed():
    speed = StepSpeed()
    speed.learn("first", 0.26, 3.0)
    assert_knows(taught(speed, 300))


def test_a_graph_that_is_captured_at_the_third_call_is_left_out():
    speed = taught(StepSpeed(), 100)
    for call in range(40):
        seconds = 1.0 if call == 2 else FIXED_S + S_PER_MP * 0.5
        speed.learn("graphed", 0.5, seconds)
    assert_knows(speed)


def test_shapes_that_never_come_twice_are_learned_from_as_well():
    speed = StepSpeed()
    for number in range(300):
        megapixels = 0.1 + 0.01 * number
        speed.learn(("only once", number), megapixels, FIXED_S + S_PER_MP * megapixels)
    assert_knows(speed)


def test_a_device_that_becomes_slower_or_faster_is_followed():
    speed = taught(StepSpeed(), 300)
    taught(speed, 1500, 3 * FIXED_S, 2 * S_PER_MP, seed=1)
    assert_knows(speed, 3 * FIXED_S, 2 * S_PER_MP, within=0.05)
    taught(speed, 1500, seed=2)
    assert_knows(speed, within=0.05)


def test_a_device_that_becomes_ten_times_slower_is_believed_after_a_few_steps():
    speed = taught(StepSpeed(), 300)
    taught(speed, REFUSED_IN_A_ROW + 200, 10 * FIXED_S, 10 * S_PER_MP, seed=1)
    assert_knows(speed, 10 * FIXED_S, 10 * S_PER_MP)


def test_steps_of_one_size_keep_the_ratio_of_the_terms():
    speed = taught(StepSpeed(), 300)
    taught(speed, 5000, sizes=(0.26,), noise=0.03)
    assert_knows(speed, within=0.15)
    taught(speed, 1000, 2 * FIXED_S, 2 * S_PER_MP, sizes=(0.26,))
    assert speed.expected_s(0.26) == pytest.approx(2 * (FIXED_S + S_PER_MP * 0.26), rel=0.02)


def test_before_two_sizes_are_seen_all_time_counts_as_work_on_pixels():
    speed = StepSpeed()
    assert speed.expected_s(1.0) == 0
    speed.learn("a", 0.5, 0.1)
    assert (speed.fixed_s, speed.s_per_mp) == (0, pytest.approx(0.2))


@given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(1e-4, 1e3)), max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_no_term_is_ever_negative_or_infinite(samples):
    speed = StepSpeed()
    for megapixels, seconds in samples:
        speed.learn(round(megapixels, 1), megapixels, seconds)
        assert 0 <= speed.fixed_s < 1e4 and 0 <= speed.s_per_mp < 1e7
    if samples:
        assert speed.expected_s(1.0) > 0


@pytest.mark.parametrize("seconds", [0.0, -3.0, float("nan")])
def test_a_duration_that_cannot_be_changes_nothing(seconds):
    speed = taught(StepSpeed(), 100)
    before = speed.fixed_s, speed.s_per_mp
    speed.learn("odd", 0.5, seconds)
    assert (speed.fixed_s, speed.s_per_mp) == before
