"""What the engine tells of its stages: on a clock that only the restorer's work moves."""

import pytest
from engine_bench import OUT_OF_MEMORY, Bench
from fakes import FakeRestorer

from worker.engine import Engine
from worker.engine_stages import seconds_by_stage
from worker.messages import BatchStepped, Done, Failed

BEGIN_S, STEP_S, FINISH_S = 1.0, 0.5, 0.25


def clocked(**hooks) -> Bench:
    """A bench whose clock moves by BEGIN_S an image, STEP_S a call, FINISH_S a track."""
    now_s = [100.0]

    def spend(seconds):
        def work(*_):
            now_s[0] += seconds

        return work

    hooks = {"at_begin": spend(BEGIN_S), "at_step": spend(STEP_S), "at_finish": spend(FINISH_S)} | hooks
    bench = Bench(FakeRestorer(tile_px=64, **hooks))
    bench.engine = Engine(bench.engine.residents, bench.answers.append, clock=lambda: now_s[0])
    return bench


def test_each_pass_has_its_stages_and_they_follow_each_other():
    bench = clocked()
    bench.admit(1, steps=4, max_passes=2)
    bench.run()
    (done,) = bench.of(1, Done)
    found = [(stage.pass_index, stage.name, stage.end_s - stage.start_s) for stage in done.stages]
    assert found == [
        (0, "assess", BEGIN_S), (0, "steps", 4 * STEP_S), (0, "finish", FINISH_S), (1, "steps", 4 * STEP_S),
        (1, "finish", FINISH_S),
    ]  # fmt: skip
    assert all(before.end_s <= after.start_s for before, after in zip(done.stages, done.stages[1:], strict=False))
    assert seconds_by_stage(done.stages) == {"assess": BEGIN_S, "steps": 8 * STEP_S, "finish": 2 * FINISH_S}


def test_an_image_that_shares_steps_counts_each_of_them_in_full_and_once_for_all_its_tiles():
    bench = clocked()
    bench.admit(1, side=(64, 128), steps=3)
    bench.admit(2, steps=3)
    bench.run()
    for number in (1, 2):
        (done,) = bench.of(number, Done)
        assert seconds_by_stage(done.stages)["steps"] == 3 * STEP_S
    turns = [answer for answer in bench.answers if isinstance(answer, BatchStepped)]
    assert [turn.tasks for turn in turns] == [("1", "2")] * 3
    assert [turn.one_left for turn in turns] == [False, False, True]
    assert turns[0].end_s - turns[0].seconds == 100.0


def test_an_assessment_has_one_stage():
    bench = clocked()
    bench.admit(1, detect_only=True)
    bench.run()
    (done,) = bench.of(1, Done)
    assert [stage.name for stage in done.stages] == ["assess"]


def test_a_failure_tells_what_was_done_before():
    def fail(_):
        raise OUT_OF_MEMORY

    bench = clocked(at_finish=fail)
    bench.admit(1, steps=2)
    bench.run()
    (failed,) = bench.of(1, Failed)
    assert seconds_by_stage(failed.stages)["steps"] == pytest.approx(2 * STEP_S)
