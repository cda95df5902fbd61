"""Errors in the engine: of one image, of the device, and short memory."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from engine_bench import OUT_OF_MEMORY, Bench, named
from fakes import FakeRestorer, FakeTrack

from jobs.spec import JobControls
from models.errors import ControlsError, PromptNotUnderstood
from models.pixels import floats
from models.restorer import Request
from worker.engine_errors import DeviceBroken, is_device_error, is_out_of_memory, to_failed
from worker.messages import BatchStepped, Done, Failed


@pytest.mark.parametrize("stage", ["at_begin", "at_step", "at_finish"])
@pytest.mark.parametrize("alone", [True, False])
def test_an_error_ends_the_image_that_caused_it_and_no_other(stage, alone):
    bench = Bench(FakeRestorer(**{stage: named(2, ValueError("no such thing"))}))
    numbers = [2] if alone else [1, 2, 3]
    for number in numbers:
        bench.admit(number)
    bench.run()
    assert bench.ends() == {number: ["engine-error" if number == 2 else "done"] for number in numbers}
    (failed,) = bench.of(2, Failed)
    assert failed.detail == "ValueError: no such thing"
    assert failed.hint


@pytest.mark.parametrize("stage", ["at_begin", "at_finish"])
def test_a_joint_call_that_does_not_fit_is_made_image_by_image(stage):
    """Memory is short for several images at once, and not for each."""
    bench = Bench()
    restorer, name = bench.restorer, stage.removeprefix("at_")
    whole = getattr(restorer, name)

    def one_fits(parts):
        if len(parts) > 1:
            raise OUT_OF_MEMORY
        return whole(parts)

    setattr(restorer, name, one_fits)
    for number in range(3):
        bench.admit(number)
    bench.run()
    assert bench.ends() == {number: ["done"] for number in range(3)}
    assert all(request.tile_px is None for request in restorer.begun), "no tile was cut for it"
    assert sum(answer.splits for answer in bench.answers if isinstance(answer, BatchStepped)) == 1


def test_an_image_that_fails_does_not_change_the_steps_of_others():
    finished = []
    bench = Bench(
        FakeRestorer(
            at_step=named(2, ValueError("bad")), result=lambda image: finished.append(image) or image.request.image
        )
    )
    for number in (1, 2, 3):
        bench.admit(number, steps=6)
    bench.run()
    assert {image.name: image.steps_taken for image in finished} == {1: 6, 3: 6}


def test_bad_controls_fail_with_their_own_code():
    bench = Bench(FakeRestorer(at_begin=named(1, ControlsError("got degradation 'dust', expected noise"))))
    bench.admit(1)
    bench.admit_with(2, JobControls.model_construct(strength=7))
    bench.admit(3)
    bench.run()
    assert bench.ends() == {1: ["bad-controls"], 2: ["bad-controls"], 3: ["done"]}
    assert "dust" in bench.of(1, Failed)[0].detail
    assert "strength" in bench.of(2, Failed)[0].detail


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_result_with_nan_or_infinite_values_fails(bad):
    def spoiled(image):
        picture = floats(image.request.image).clone()
        if image.name == 2:
            picture[1, 3, 5] = bad
        return picture

    bench = Bench(FakeRestorer(result=spoiled))
    for number in (1, 2, 3):
        bench.admit(number)
    bench.run()
    assert bench.ends() == {1: ["done"], 2: ["not-finite"], 3: ["done"]}


@pytest.mark.parametrize("stage", ["at_begin", "at_step", "at_finish"])
@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: an illegal memory access was encountered"), RuntimeError("CUBLAS_STATUS_FAIL")]
)
def test_an_error_of_the_device_is_raised(stage, error):
    bench = Bench(FakeRestorer(**{stage: named(1, error)}))
    bench.admit(1)
    with pytest.raises(DeviceBroken):
        bench.run()
    assert bench.ends() == {}, "its jobs go back into the queue"


def fits(most: int) -> Callable[[list[FakeTrack]], None]:
    def trouble(tracks):
        if len(tracks) > most:
            raise OUT_OF_MEMORY

    return trouble


def test_a_batch_that_does_not_fit_is_halved_and_all_are_restored():
    bench = Bench(FakeRestorer(at_step=fits(2)))
    for number in range(8):
        bench.admit(number, steps=12)
    bench.run()
    assert bench.ends() == {number: ["done"] for number in range(8)}
    assert sum(answer.splits for answer in bench.answers if isinstance(answer, BatchStepped)) > 0
    assert all(request.tile_px is None for request in bench.restorer.begun), "no tile was cut for it"


def test_after_a_halving_batches_grow_back_one_at_a_time():
    bench = Bench(FakeRestorer(at_step=fits(4)))
    for number in range(8):
        bench.admit(number, steps=40)
    bench.engine.turn()
    sizes = []
    for _ in range(20):
        before = len(bench.restorer.batches)
        bench.engine.turn()
        sizes.append(len(bench.restorer.batches[before]))
    assert 8 not in sizes
    assert all(later <= earlier + 1 for earlier, later in pairwise(sizes))


def test_batches_grow_back_to_the_limit_when_memory_is_free_again():
    left = [3]

    def trouble(tracks):
        if len(tracks) > 1 and left[0]:
            left[0] -= 1
            raise OUT_OF_MEMORY

    bench = Bench(FakeRestorer(at_step=trouble))
    for number in range(8):
        bench.admit(number, steps=100)
    for _ in range(40):
        bench.engine.turn()
    assert bench.engine.residents[""].max_batch == 8
    assert len(bench.restorer.batches[-1]) == 8


@pytest.mark.parametrize(
    "error", [OUT_OF_MEMORY, MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
@pytest.mark.parametrize("stage", ["at_begin", "at_step", "at_finish"])
def test_an_image_that_does_not_fit_begins_again_in_smaller_tiles(stage, error):
    def trouble(what):
        request = what if isinstance(what, Request) else (what[0] if isinstance(what, list) else what).image.request
        if (request.tile_px or 1024) > 256:
            raise error

    bench = Bench(FakeRestorer(**{stage: trouble}))
    bench.admit(1, side=(2048, 512))
    bench.run()
    assert [request.tile_px for request in bench.restorer.begun] == [None, 512, 256]
    assert bench.ends() == {1: ["done"]}
    assert bench.of(1, Done)[0].pixels.shape == (2048, 512, 3)


def test_an_image_of_which_no_tile_fits_fails_alone():
    bench = Bench(FakeRestorer(at_step=named(2, OUT_OF_MEMORY)))
    for number in (1, 2, 3):
        bench.admit(number, side=512)
    bench.run()
    assert bench.ends() == {1: ["done"], 2: ["out-of-memory"], 3: ["done"]}
    tiles = [request.tile_px for request in bench.restorer.begun if request.controls.seed == 2]
    assert tiles == [None, 256, 128]
    assert bench.of(2, Failed)[0].hint


def test_assessing_an_image_that_does_not_fit_fails():
    class Small(FakeRestorer):
        def assess(self, images):
            raise OUT_OF_MEMORY

    bench = Bench(Small())
    bench.admit(1, side=512, detect_only=True)
    bench.run()
    assert bench.ends() == {1: ["out-of-memory"]}


def test_an_image_in_tiles_that_do_not_fit_begins_again_in_smaller_tiles():
    """A bundle cuts large images into tiles itself; the next tiles must be smaller than those that did not fit."""

    def trouble(tracks):
        if tracks[0].shape[0] >= 256:
            raise OUT_OF_MEMORY

    bench = Bench(FakeRestorer(at_step=trouble, tile_px=256))
    bench.admit(1, side=2048)
    bench.run()
    assert [request.tile_px for request in bench.restorer.begun] == [None, 128]
    assert bench.ends() == {1: ["done"]}


def test_tiles_of_an_abandoned_attempt_are_not_stepped():
    tried = []

    def trouble(tracks):
        tried.append((tracks[0].image.request.tile_px, len(tracks)))
        if tracks[0].shape[0] >= 512:
            raise OUT_OF_MEMORY

    bench = Bench(FakeRestorer(at_step=trouble, tile_px=512), max_batch=4)
    bench.admit(1, side=(512, 2048))
    bench.engine.turn()
    assert tried == [(None, 4), (None, 2), (None, 1)], "the first tile alone did not fit, so the image begins again"


def test_a_prompt_that_the_bundle_cannot_do_fails_with_its_own_code():
    failed = to_failed("1", PromptNotUnderstood("this bundle cannot repair shadow", ("noise",), ("shadow",)))
    assert (failed.code, failed.detail) == ("prompt-not-understood", "this bundle cannot repair shadow")
    assert "best_effort" in failed.hint


@pytest.mark.parametrize(
    ("error", "memory", "device"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True, False),
        (
            torch.AcceleratorError("CUDA error: out of memory"),
            True,
            True,
        ),  # a graph or a library, not torch's allocator
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, True),
        (RuntimeError("Triton Error [CUDA]: out of memory"), True, True),
        (RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), False, True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False, True),
        (torch.AcceleratorError("HIP error: unspecified launch failure"), False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False, False),
    ],
)
def test_errors_of_memory_of_the_device_and_of_an_image_are_told_apart(error, memory, device):
    """Memory is asked for first: it leaves the device whole, so the engine goes on."""
    assert is_out_of_memory(error) == memory
    assert memory or is_device_error(error) == device
