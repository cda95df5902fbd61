"""The engine over a restorer that computes nothing: batches, cancels and progress."""

from itertools import pairwise

import numpy as np
import pytest
from engine_bench import Bench
from fakes import FakeRestorer
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.spec import JobControls
from worker.engine import Engine
from worker.messages import BatchStepped, Done, PassProgress, StepProgress, Task


def test_an_image_is_returned_with_its_outcome():
    bench = Bench()
    bench.admit(7, side=(64, 96))
    bench.run()
    (done,) = bench.of(7, Done)
    np.testing.assert_array_equal(done.pixels, np.full((64, 96, 3), 7, np.uint8))
    assert (done.outcome.stop_reason, done.outcome.seed) == ("clean", 7)
    assert [answer.step for answer in bench.of(7, StepProgress)] == [1, 2, 3, 4]
    assert not bench.engine.busy


def test_sixteen_bit_pixels_are_returned_as_sixteen_bits():
    bench = Bench()
    pixels = np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3) * 5
    bench.engine.admit(Task(id="1", pixels=pixels, controls=JobControls(steps=1)))
    bench.run()
    (done,) = bench.of(1, Done)
    assert done.pixels.dtype == np.uint16
    np.testing.assert_array_equal(done.pixels, pixels)


def test_images_at_different_steps_share_a_batch_and_a_new_one_joins_at_the_next_step():
    bench = Bench()
    bench.admit(1)
    bench.engine.turn()
    bench.engine.turn()
    bench.admit(2)
    bench.engine.turn()
    bench.run()
    assert bench.restorer.batches == [
        [(1, 0)], [(1, 1)], [(1, 2), (2, 0)], [(1, 3), (2, 1)], [(2, 2)], [(2, 3)],
    ]  # fmt: skip
    assert bench.ends() == {1: ["done"], 2: ["done"]}


def test_images_that_wait_begin_in_one_call_and_all_take_the_next_step():
    bench = Bench()
    bench.admit(9)
    bench.engine.turn()
    for number in range(4):
        bench.admit(number)
    bench.engine.turn()
    assert bench.restorer.begin_calls == [1, 4]
    assert {name for name, _ in bench.restorer.batches[1]} == {9, 0, 1, 2, 3}


def test_no_more_images_begin_in_a_turn_than_a_step_takes_and_the_first_in_turn_begin_first():
    bench = Bench(max_batch=3)
    for number in range(8):
        bench.admit(number, lane=2 if number < 4 else 0)
    bench.engine.turn()
    assert [request.controls.seed for request in bench.restorer.begun] == [4, 5, 6]
    bench.run()
    assert bench.restorer.begin_calls == [3, 3, 2]
    assert bench.ends() == {number: ["done"] for number in range(8)}


def test_images_that_are_only_assessed_share_a_call():
    bench = Bench()
    for number in range(3):
        bench.admit(number, detect_only=True)
    bench.admit(3)
    bench.run()
    assert bench.restorer.assess_calls == [3]
    assert bench.ends() == {number: ["done"] for number in range(4)}


def test_tracks_that_are_done_after_the_same_step_finish_in_one_call():
    bench = Bench(FakeRestorer(tile_px=64))
    bench.admit(1, side=(64, 128), steps=2)
    bench.admit(2, steps=2)
    bench.admit(3, steps=5)
    bench.run()
    assert [len(call) for call in bench.restorer.finished] == [3, 1]
    assert bench.ends() == {1: ["done"], 2: ["done"], 3: ["done"]}


def test_the_cost_of_steps_is_learned_and_told():
    """A modeled device: a step costs 9 ms and 20 ms a megapixel on a clock that only it moves."""
    now_s = [0.0]

    def work(tracks):
        now_s[0] += 0.009 + 0.020 * sum(track.shape[0] * track.shape[1] for track in tracks) / 1e6

    bench = Bench(FakeRestorer(at_step=work))
    bench.engine = Engine(bench.engine.residents, bench.answers.append, clock=lambda: now_s[0])
    for number in range(40):
        bench.admit(number, side=(64 * (1 + number % 7), 96), steps=8)
    bench.run()
    told = [answer for answer in bench.answers if isinstance(answer, BatchStepped)][-1]
    assert (told.fixed_s, told.s_per_mp) == (pytest.approx(0.009, rel=0.02), pytest.approx(0.020, rel=0.1))


def test_a_finished_image_leaves_at_once():
    bench = Bench()
    bench.admit(1, steps=1)
    bench.admit(2, steps=5)
    bench.run()
    order = [answer.id for answer in bench.answers if isinstance(answer, Done)]
    last_of_2 = max(i for i, answer in enumerate(bench.answers) if getattr(answer, "id", "") == "2")
    first_end = next(i for i, answer in enumerate(bench.answers) if isinstance(answer, Done))
    assert order == ["1", "2"]
    assert first_end < last_of_2


def test_a_batch_has_one_shape_and_the_higher_lane_goes_first():
    bench = Bench()
    bench.admit(1, side=64, lane=2, steps=3)
    bench.engine.turn()
    bench.admit(2, side=96, lane=0, steps=2)
    bench.run()
    assert bench.restorer.batches == [[(1, 0)], [(2, 0)], [(2, 1)], [(1, 1)], [(1, 2)]]


def test_a_batch_keeps_to_the_megapixels():
    bench = Bench(megapixels=2.5 * 64 * 64 / 1e6)
    for number in range(3):
        bench.admit(number, steps=8)
    bench.run()
    assert max(len(batch) for batch in bench.restorer.batches) == 2
    turned = [answer for answer in bench.answers if isinstance(answer, BatchStepped)]
    assert {answer.images for answer in turned} == {1, 2}
    assert turned[-1].megapixels == pytest.approx(turned[-1].images * 64 * 64 / 1e6)


def test_a_canceled_image_is_dropped_between_steps_and_its_neighbors_finish():
    bench = Bench()
    for number in (1, 2, 3):
        bench.admit(number)
    for _ in range(3):
        bench.engine.turn()
    bench.engine.cancel("2")
    answers = len(bench.answers)
    bench.engine.cancel("unknown")
    bench.run()
    assert bench.ends() == {1: ["done"], 3: ["done"]}
    assert all(getattr(answer, "id", None) != "2" for answer in bench.answers[answers:])
    assert 2 not in {name for batch in bench.restorer.batches[3:] for name, _ in batch}


def test_an_image_can_be_canceled_before_it_begins():
    bench = Bench()
    bench.admit(1)
    bench.engine.cancel("1")
    assert not bench.engine.busy
    bench.engine.turn()
    assert bench.answers == [] and bench.restorer.begun == []


def test_an_image_with_nothing_to_do_is_done_without_a_step():
    bench = Bench()
    bench.admit(1, strength=0)
    bench.run()
    assert bench.ends() == {1: ["done"]}
    assert bench.restorer.batches == []


def test_an_image_that_is_only_assessed_is_returned_without_pixels():
    bench = Bench()
    bench.admit(1, detect_only=True)
    bench.run()
    (done,) = bench.of(1, Done)
    assert done.pixels is None
    assert done.outcome.degradations == {"noise": 0.75, "clean": 0.25}
    assert list(done.outcome.degradations) == ["noise", "clean"], "most probable first"
    assert bench.restorer.batches == []


@pytest.mark.parametrize("send_passes", [True, False])
def test_each_pass_is_reported_with_its_picture_if_that_is_wanted(send_passes):
    bench = Bench()
    bench.admit(1, max_passes=3, send_passes=send_passes)
    bench.run()
    passed = bench.of(1, PassProgress)
    assert [len(answer.outcome.passes) for answer in passed] == [0, 1, 2]
    assert [answer.pixels is not None for answer in passed] == [False, send_passes, send_passes]
    assert all(answer.outcome.stop_reason is None for answer in passed)
    assert bench.ends() == {1: ["done"]}


def fractions(bench: Bench, number: int) -> list[tuple[int, float]]:
    return [(answer.pass_index, answer.fraction) for answer in bench.of(number, StepProgress)]


def assert_never_decreases(seen: list[tuple[int, float]]) -> None:
    assert all(0 <= fraction <= 1 for _, fraction in seen)
    for (pass_, before), (next_pass, after) in pairwise(seen):
        assert next_pass > pass_ or after >= before - 1e-9, seen


@given(
    images=st.lists(
        st.tuples(st.sampled_from([64, 96]), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2)),
        min_size=1,
        max_size=5,
    ),
    max_batch=st.integers(1, 4),
)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_the_progress_of_a_whole_image_never_decreases_and_ends_at_one(images, max_batch):
    bench = Bench(max_batch=max_batch)
    for number, (side, steps, passes, lane) in enumerate(images):
        bench.admit(number, side=side, steps=steps, max_passes=passes, lane=lane)
        bench.engine.turn()
    bench.run()
    for number in range(len(images)):
        seen = fractions(bench, number)
        assert_never_decreases(seen)
        assert seen[-1][1] == pytest.approx(1.0)
        assert bench.ends()[number] == ["done"]


def test_the_progress_of_a_tiled_image_never_decreases():
    """Tiles of an image reach different steps when a more urgent image takes places in the batch."""
    bench = Bench(FakeRestorer(tile_px=64), max_batch=4)
    bench.admit(1, side=128, lane=2, steps=8)
    bench.engine.turn()
    for number in (2, 3):
        bench.admit(number, side=64, lane=0, steps=4)
    bench.run()
    assert len(fractions(bench, 1)) > 8
    assert_never_decreases(fractions(bench, 1))


def test_the_progress_of_an_image_with_edge_tiles_never_decreases():
    bench = Bench(FakeRestorer(tile_px=64), max_batch=4)
    bench.admit(1, side=(128, 96), steps=8)
    bench.run()
    assert_never_decreases(fractions(bench, 1))


def test_the_whole_image_of_a_part_reaches_the_restorer():
    bench, whole = Bench(), np.full((32, 48, 3), 7, np.uint8)
    bench.engine.admit(Task(id="1", pixels=np.zeros((8, 8, 3), np.uint8), whole=whole))
    bench.engine.admit(Task(id="2", pixels=whole))
    bench.run()
    assert [request.whole is None for request in bench.restorer.begun] == [False, True]
    assert tuple(bench.restorer.begun[0].whole.shape) == (3, 32, 48)


def test_the_image_before_its_enlargement_reaches_the_restorer():
    bench, large = Bench(), np.zeros((16, 24, 3), np.uint8)
    small = np.full((8, 12, 3), 7, np.uint8)
    bench.engine.admit(Task(id="1", pixels=large, small=small, compressed=True))
    bench.engine.admit(Task(id="2", pixels=large))
    bench.run()
    first, second = bench.restorer.begun
    assert tuple(first.small.shape) == (3, 8, 12) and int(first.small.max()) == 7 and first.compressed
    assert second.small is None and not second.compressed
