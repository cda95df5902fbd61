"""One engine with two resident bundles."""

import numpy as np
from engine_bench import OUT_OF_MEMORY
from fakes import FakeRestorer

from jobs.spec import JobControls
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.messages import BatchStepped, Done, Failed, Task
from worker.picking import BatchLimits


def two_families(max_batch=8):
    """An engine with two fake restorers, `left` and `right`."""
    answers: list[object] = []
    residents = {
        name: Resident(FakeRestorer(), BatchLimits(max_batch=max_batch, megapixels=100.0)) for name in ("left", "right")
    }
    return Engine(residents, answers.append), {name: one.restorer for name, one in residents.items()}, answers


def admit_to(engine, bundle, number, steps=3, lane=0):
    pixels = np.full((64, 64, 3), number, np.uint8)
    controls = JobControls(seed=number, steps=steps)
    engine.admit(
        Task(id=str(number), bundle=bundle, pixels=pixels, controls=controls, lane=lane, since_s=float(number))
    )


def test_images_of_two_bundles_take_turns_and_never_share_a_step():
    """All wait from the start and have one size.  A step belongs to one bundle, and the first to arrive goes first."""
    engine, restorers, answers = two_families()
    for number, bundle in enumerate(("left", "right", "left", "right")):
        admit_to(engine, bundle, number)
    while engine.busy:
        engine.turn()
    assert {answer.id for answer in answers if isinstance(answer, Done)} == {"0", "1", "2", "3"}
    stepped = {name: {number for batch in r.batches for number, _ in batch} for name, r in restorers.items()}
    assert stepped == {"left": {0, 2}, "right": {1, 3}}
    assert max(len(batch) for batch in restorers["left"].batches) == 2, "those of one bundle do share a step"
    assert {answer.bundle for answer in answers if isinstance(answer, BatchStepped)} == {"left", "right"}


def test_a_result_credits_the_bundle_that_made_it():
    engine, _, answers = two_families()
    engine.residents["right"].credit = "Right by A. Weaver"
    for number, bundle in enumerate(("left", "right")):
        admit_to(engine, bundle, number)
    while engine.busy:
        engine.turn()
    assert {answer.id: answer.outcome.credit for answer in answers if isinstance(answer, Done)} == {
        "0": "", "1": "Right by A. Weaver"
    }  # fmt: skip


def test_a_higher_lane_of_one_bundle_goes_before_the_other_bundle():
    engine, restorers, answers = two_families()
    admit_to(engine, "left", 1, steps=4, lane=2)
    engine.turn()
    admit_to(engine, "right", 2, steps=2)
    while engine.busy:
        engine.turn()
    assert [answer.id for answer in answers if isinstance(answer, Done)] == ["2", "1"]
    assert restorers["left"].batches[0] == [(1, 0)] and len(restorers["right"].batches) == 2


def test_short_memory_of_one_bundle_does_not_shrink_the_others_batches():
    engine, restorers, _ = two_families(max_batch=4)

    def short(tracks):
        if len(tracks) > 1:
            raise OUT_OF_MEMORY

    restorers["left"].at_step = short
    for number in range(4):
        admit_to(engine, ("left", "right")[number % 2], number)
    while engine.busy:
        engine.turn()
    assert max(len(batch) for batch in restorers["right"].batches) == 2
    assert engine.residents["right"].max_batch == 4


def test_a_task_for_an_unknown_bundle_fails_alone():
    engine, _, answers = two_families()
    admit_to(engine, "middle", 1)
    assert not engine.busy
    assert isinstance(answers[0], Failed) and answers[0].code == "no-such-bundle" and "left, right" in answers[0].detail
