"""Steps per second, by the test's own clock."""

import pytest

from worker.messages import BatchStepped
from worker.pace import WINDOW_S, Pace


def batch_of(images: int, memory_bytes: int = 0) -> BatchStepped:
    return BatchStepped(bundle="b", images=images, megapixels=0.1, seconds=0.1, memory_bytes=memory_bytes)


@pytest.mark.parametrize(
    ("images", "every_s", "expected"), [(1, 1.0, 1.0), (4, 1.0, 4.0), (2, 0.5, 4.0), (1, 5.0, 0.2)]
)
def test_a_steady_engine_has_the_rate_of_its_batches(images, every_s, expected):
    now_s = 100.0
    pace = Pace(clock=lambda: now_s)
    while now_s < 160:
        now_s += every_s
        pace.on_batch(batch_of(images, memory_bytes=7))
    assert pace.steps_per_s() == pytest.approx(expected)
    assert pace.memory_bytes == 7


def test_an_engine_that_stops_has_no_rate_after_the_window():
    now_s = 0.0
    pace = Pace(clock=lambda: now_s)
    assert pace.steps_per_s() == 0
    pace.on_batch(batch_of(8))
    assert pace.steps_per_s() == 8 / WINDOW_S
    now_s = WINDOW_S + 0.1
    assert pace.steps_per_s() == 0
