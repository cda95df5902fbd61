"""The idle time of a device, from timelines that were made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def idle():
    from gpu_stages import idle

    return idle


def timeline(idle, *parts):
    """Kernels from (name, start, end) in microseconds; "|" is a marker."""
    return [idle.Kernel("void spin_kernel(long)" if name == "|" else name, start, end) for name, start, end in parts]


def test_work_between_steps_is_no_idle_time(idle):
    """Step 1: 10 to 100, idle 20 to 40 inside; then 10 us, a decode of 50 us, 20 us; then step 2 without a gap."""
    kernels = timeline(
        idle, ("|", 0, 10), ("conv", 10, 20), ("conv", 40, 100), ("|", 100, 101), ("decode", 111, 161),
        ("|", 181, 182), ("conv", 182, 300), ("|", 300, 301),
    )  # fmt: skip
    found = idle.idle_of(kernels)
    assert found.between_ms == pytest.approx([0.030])
    assert found.within_ms == pytest.approx([0.020, 0.0])
    assert found.share == pytest.approx(50 / 301)


def test_a_copy_on_another_stream_keeps_the_device_busy(idle):
    kernels = timeline(idle, ("|", 0, 1), ("|", 1, 2), ("copy", 0, 30), ("conv", 10, 20), ("|", 32, 33), ("|", 33, 34))
    assert idle.idle_of(kernels).between_ms == pytest.approx([0.002])


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_without_two_steps_there_is_nothing_to_say(idle, count):
    assert idle.idle_of(timeline(idle, *[("|", 10 * n, 10 * n + 1) for n in range(count)])) is None


@given(st.lists(st.tuples(st.integers(1, 998), st.integers(0, 200)), max_size=30))
def test_idle_and_busy_time_make_up_the_whole(idle, spans):
    """Counted microsecond by microsecond."""
    kernels = timeline(idle, ("|", -2, -1), ("|", -1, 0), ("|", 1000, 1001), ("|", 1001, 1002))
    kernels += timeline(idle, *[("k", start, min(start + length, 1000)) for start, length in spans])
    busy = {moment for start, length in spans for moment in range(start, min(start + length, 1000))}
    assert idle.idle_of(kernels).between_ms == pytest.approx([(1000 - len(busy)) / 1000])
