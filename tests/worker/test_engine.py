"""The engine over a restorer that computes nothing, and at the end over the shipped bundle."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeRestorer, FakeTrack
from hypothesis import given, settings
from hypothesis import strategies as st

from models.autodir.restorer import AutoDIR
from models.errors import ControlsError
from models.restorer import Controls, Request
from worker.engine import DeviceBroken, Engine, Resident
from worker.messages import Done, Failed, Passed, Stepped, Task, Turned
from worker.picking import Limits

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "bundles" / "autodir-small"
PHOTO = ROOT / "examples" / "raccoon-noisy.jpg"
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")


class Bench:
    """An engine, what it said, and images by their number."""

    def __init__(self, restorer=None, together=8, megapixels=100.0) -> None:
        self.restorer = restorer or FakeRestorer()
        self.said: list[object] = []
        self.engine = Engine(
            {"": Resident(self.restorer, Limits(together=together, megapixels=megapixels))}, self.said.append
        )

    def admit(self, number: int, side=64, lane=0, since_s=None, detect_only=False, pictures=True, **controls) -> None:
        height, width = (side, side) if isinstance(side, int) else side
        pixels = np.full((height, width, 3), number, np.uint8)
        self.engine.admit(
            Task(
                id=str(number), pixels=pixels, lane=lane, since_s=float(number) if since_s is None else since_s,
                controls={"seed": number, "steps": 4, **controls}, detect_only=detect_only, pictures=pictures,
            )
        )  # fmt: skip

    def run(self, most_turns=1000) -> None:
        for _ in range(most_turns):
            if not self.engine.busy:
                return
            self.engine.turn()
        pytest.fail("the engine never ended")

    def of(self, number: int, kind: type | tuple[type, ...] = object) -> list:
        return [
            answer for answer in self.said if getattr(answer, "id", None) == str(number) and isinstance(answer, kind)
        ]

    def ends(self) -> dict[int, list[str]]:
        """How each image ended, by number: 'done' or the code of its failure."""
        ended: dict[int, list[str]] = {}
        for answer in self.said:
            if isinstance(answer, Done | Failed):
                ended.setdefault(int(answer.id), []).append("done" if isinstance(answer, Done) else answer.code)
        return ended


def named(number: int, error: Exception) -> Callable[..., None]:
    """Raise whenever this image takes part."""

    def trouble(what):
        tracks = what if isinstance(what, list) else [what]
        names = [t.controls.seed if isinstance(t, Request) else t.name for t in tracks]
        if number in names:
            raise error

    return trouble


# --- batches


def test_an_image_comes_back_with_its_report():
    bench = Bench()
    bench.admit(7, side=(64, 96))
    bench.run()
    (done,) = bench.of(7, Done)
    np.testing.assert_array_equal(done.pixels, np.full((64, 96, 3), 7, np.uint8))
    assert (done.report["stop_reason"], done.report["seed"]) == ("clean", 7)
    assert [answer.step for answer in bench.of(7, Stepped)] == [1, 2, 3, 4]
    assert not bench.engine.busy


def test_sixteen_bits_come_back_as_sixteen_bits():
    bench = Bench()
    pixels = np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3) * 5
    bench.engine.admit(Task(id="1", pixels=pixels, controls={"steps": 1}))
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


def test_a_finished_image_leaves_at_once():
    bench = Bench()
    bench.admit(1, steps=1)
    bench.admit(2, steps=5)
    bench.run()
    order = [answer.id for answer in bench.said if isinstance(answer, Done)]
    last_of_2 = max(i for i, answer in enumerate(bench.said) if getattr(answer, "id", "") == "2")
    first_end = next(i for i, answer in enumerate(bench.said) if isinstance(answer, Done))
    assert order == ["1", "2"]
    assert first_end < last_of_2


def test_only_one_shape_rides_in_a_batch_and_the_higher_lane_goes_first():
    bench = Bench()
    bench.admit(1, side=64, lane=2, steps=3)
    bench.engine.turn()
    bench.admit(2, side=96, lane=0, steps=2)
    bench.run()
    assert bench.restorer.batches == [[(1, 0)], [(2, 0)], [(2, 1)], [(1, 1)], [(1, 2)]]


def two_families(together=8):
    """An engine with two fake restorers, `left` and `right`."""
    said: list[object] = []
    residents = {
        name: Resident(FakeRestorer(), Limits(together=together, megapixels=100.0)) for name in ("left", "right")
    }
    return Engine(residents, said.append), {name: one.restorer for name, one in residents.items()}, said


def admit_to(engine, bundle, number, steps=3, lane=0):
    pixels = np.full((64, 64, 3), number, np.uint8)
    controls = {"seed": number, "steps": steps}
    engine.admit(
        Task(id=str(number), bundle=bundle, pixels=pixels, controls=controls, lane=lane, since_s=float(number))
    )


def test_images_of_two_bundles_take_turns_and_never_share_a_step():
    """Both wait from the start, of one size: a step is one bundle's, whoever came first goes first."""
    engine, restorers, said = two_families()
    for number, bundle in enumerate(("left", "right", "left", "right")):
        admit_to(engine, bundle, number)
    while engine.busy:
        engine.turn()
    assert {answer.id for answer in said if isinstance(answer, Done)} == {"0", "1", "2", "3"}
    stepped = {name: {number for batch in r.batches for number, _ in batch} for name, r in restorers.items()}
    assert stepped == {"left": {0, 2}, "right": {1, 3}}
    assert max(len(batch) for batch in restorers["left"].batches) == 2, "those of one bundle do share a step"
    assert {answer.bundle for answer in said if isinstance(answer, Turned)} == {"left", "right"}


def test_a_higher_lane_of_one_bundle_goes_before_the_other_bundle():
    engine, restorers, said = two_families()
    admit_to(engine, "left", 1, steps=4, lane=2)
    engine.turn()
    admit_to(engine, "right", 2, steps=2)
    while engine.busy:
        engine.turn()
    assert [answer.id for answer in said if isinstance(answer, Done)] == ["2", "1"]
    assert restorers["left"].batches[0] == [(1, 0)] and len(restorers["right"].batches) == 2


def test_short_memory_of_one_bundle_leaves_the_others_batches_alone():
    engine, restorers, _ = two_families(together=4)

    def short(tracks):
        if len(tracks) > 1:
            raise OUT_OF_MEMORY

    restorers["left"].at_step = short
    for number in range(4):
        admit_to(engine, ("left", "right")[number % 2], number)
    while engine.busy:
        engine.turn()
    assert max(len(batch) for batch in restorers["right"].batches) == 2
    assert engine.residents["right"].together == 4


def test_a_bundle_that_is_not_there_fails_its_task_alone():
    engine, _, said = two_families()
    admit_to(engine, "middle", 1)
    assert not engine.busy
    assert isinstance(said[0], Failed) and said[0].code == "no-such-bundle" and "left, right" in said[0].detail


def test_a_batch_keeps_to_the_megapixels():
    bench = Bench(megapixels=2.5 * 64 * 64 / 1e6)
    for number in range(4):
        bench.admit(number, steps=8)
    bench.run()
    assert max(len(batch) for batch in bench.restorer.batches) == 2
    turned = [answer for answer in bench.said if isinstance(answer, Turned)]
    assert {answer.images for answer in turned} == {1, 2}
    assert turned[-1].megapixels == pytest.approx(turned[-1].images * 64 * 64 / 1e6)


def test_a_canceled_image_is_dropped_between_steps_and_its_neighbors_finish():
    bench = Bench()
    for number in (1, 2, 3):
        bench.admit(number)
    for _ in range(3):
        bench.engine.turn()
    bench.engine.cancel("2")
    said = len(bench.said)
    bench.engine.cancel("unknown")
    bench.run()
    assert bench.ends() == {1: ["done"], 3: ["done"]}
    assert all(getattr(answer, "id", None) != "2" for answer in bench.said[said:])
    assert 2 not in {name for batch in bench.restorer.batches[3:] for name, _ in batch}


def test_an_image_is_canceled_before_it_was_begun():
    bench = Bench()
    bench.admit(1)
    bench.engine.cancel("1")
    assert not bench.engine.busy
    bench.engine.turn()
    assert bench.said == [] and bench.restorer.begun == []


def test_an_image_with_nothing_to_do_is_done_without_a_step():
    bench = Bench()
    bench.admit(1, strength=0)
    bench.run()
    assert bench.ends() == {1: ["done"]}
    assert bench.restorer.batches == []


def test_an_image_that_is_only_to_be_assessed_comes_back_without_pixels():
    bench = Bench()
    bench.admit(1, detect_only=True)
    bench.run()
    (done,) = bench.of(1, Done)
    assert done.pixels is None
    assert done.report["degradations"] == {"noise": 0.75, "clean": 0.25}
    assert list(done.report["degradations"]) == ["noise", "clean"], "most probable first"
    assert bench.restorer.batches == []


@pytest.mark.parametrize("pictures", [True, False])
def test_each_pass_is_told_with_its_picture_if_it_is_wanted(pictures):
    bench = Bench()
    bench.admit(1, max_passes=3, pictures=pictures)
    bench.run()
    passed = bench.of(1, Passed)
    assert [len(answer.report["passes"]) for answer in passed] == [0, 1, 2]
    assert [answer.pixels is not None for answer in passed] == [False, pictures, pictures]
    assert all(answer.report["stop_reason"] == "" for answer in passed)
    assert bench.ends() == {1: ["done"]}


# --- what goes wrong with one image


@pytest.mark.parametrize("stage", ["at_begin", "at_step", "at_finish"])
@pytest.mark.parametrize("alone", [True, False])
def test_an_error_ends_the_image_that_made_it_and_no_other(stage, alone):
    bench = Bench(FakeRestorer(**{stage: named(2, ValueError("no such thing"))}))
    numbers = [2] if alone else [1, 2, 3]
    for number in numbers:
        bench.admit(number)
    bench.run()
    assert bench.ends() == {number: ["engine-error" if number == 2 else "done"] for number in numbers}
    (failed,) = bench.of(2, Failed)
    assert failed.detail == "ValueError: no such thing"
    assert failed.hint


def test_no_image_is_stepped_more_or_less_often_for_a_bad_neighbor():
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


def test_bad_controls_are_told_as_such():
    bench = Bench(FakeRestorer(at_begin=named(1, ControlsError("got degradation 'dust', expected noise"))))
    bench.admit(1)
    bench.admit(2, strength=7)
    bench.admit(3, color="blue")
    bench.admit(4)
    bench.run()
    assert bench.ends() == {1: ["bad-controls"], 2: ["bad-controls"], 3: ["bad-controls"], 4: ["done"]}
    assert "dust" in bench.of(1, Failed)[0].detail
    assert "strength" in bench.of(2, Failed)[0].detail


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_result_that_is_no_picture_fails_as_not_finite(bad):
    def spoiled(image):
        picture = image.request.image.clone()
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
def test_an_error_of_the_device_ends_the_process(stage, error):
    bench = Bench(FakeRestorer(**{stage: named(1, error)}))
    bench.admit(1)
    with pytest.raises(DeviceBroken):
        bench.run()
    assert bench.ends() == {}, "its jobs go back into line"


# --- short of memory


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
    assert sum(answer.splits for answer in bench.said if isinstance(answer, Turned)) > 0
    assert all(request.tile_px is None for request in bench.restorer.begun), "no tile was cut for it"


def test_what_fitted_lately_is_tried_before_more_is():
    """After a halving the next batch is smaller; it grows back one at a time."""
    bench = Bench(FakeRestorer(at_step=fits(4)))
    for number in range(8):
        bench.admit(number, steps=40)
    for _ in range(8):  # one is begun each turn
        bench.engine.turn()
    sizes = []
    for _ in range(20):
        before = len(bench.restorer.batches)
        bench.engine.turn()
        sizes.append(len(bench.restorer.batches[before]))
    assert 8 not in sizes
    assert all(later <= earlier + 1 for earlier, later in pairwise(sizes))


def test_when_the_device_has_room_again_batches_grow_back():
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
    assert bench.engine.residents[""].together == 8
    assert len(bench.restorer.batches[-1]) == 8


@pytest.mark.parametrize(
    "error", [OUT_OF_MEMORY, MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
@pytest.mark.parametrize("stage", ["at_begin", "at_step", "at_finish"])
def test_an_image_that_does_not_fit_is_begun_again_in_smaller_and_smaller_tiles(stage, error):
    def trouble(what):
        request = what if isinstance(what, Request) else (what[0] if isinstance(what, list) else what).image.request
        if (request.tile_px or 1024) > 256:
            raise error

    bench = Bench(FakeRestorer(**{stage: trouble}))
    bench.admit(1, side=(1024, 512))
    bench.run()
    assert [request.tile_px for request in bench.restorer.begun] == [None, 512, 256]
    assert bench.ends() == {1: ["done"]}
    assert bench.of(1, Done)[0].pixels.shape == (1024, 512, 3)


def test_an_image_of_which_no_tile_fits_fails_alone_for_want_of_memory():
    bench = Bench(FakeRestorer(at_step=named(2, OUT_OF_MEMORY)))
    for number in (1, 2, 3):
        bench.admit(number, side=512)
    bench.run()
    assert bench.ends() == {1: ["done"], 2: ["out-of-memory"], 3: ["done"]}
    tiles = [request.tile_px for request in bench.restorer.begun if request.controls.seed == 2]
    assert tiles == [None, 256, 128]
    assert bench.of(2, Failed)[0].hint


def test_looking_at_an_image_that_does_not_fit_fails_for_want_of_memory():
    class Small(FakeRestorer):
        def assess(self, images):
            raise OUT_OF_MEMORY

    bench = Bench(Small())
    bench.admit(1, side=512, detect_only=True)
    bench.run()
    assert bench.ends() == {1: ["out-of-memory"]}


def test_an_image_in_tiles_that_do_not_fit_is_begun_again_in_smaller_ones():
    """A bundle cuts large images by itself; what follows must be smaller than what did not fit."""

    def trouble(tracks):
        if tracks[0].shape[0] >= 256:
            raise OUT_OF_MEMORY

    bench = Bench(FakeRestorer(at_step=trouble, tile_px=256))
    bench.admit(1, side=2048)
    bench.run()
    assert [request.tile_px for request in bench.restorer.begun] == [None, 128]
    assert bench.ends() == {1: ["done"]}


def test_tiles_of_a_try_that_was_given_up_are_not_stepped_any_more():
    tried = []

    def trouble(tracks):
        tried.append((tracks[0].image.request.tile_px, len(tracks)))
        if tracks[0].shape[0] >= 512:
            raise OUT_OF_MEMORY

    bench = Bench(FakeRestorer(at_step=trouble, tile_px=512), together=4)
    bench.admit(1, side=(512, 2048))
    bench.engine.turn()
    assert tried == [(None, 4), (None, 2), (None, 1)], "the first tile alone did not fit: the image is begun again"


# --- how far


def fractions(bench: Bench, number: int) -> list[tuple[int, float]]:
    return [(answer.pass_index, answer.fraction) for answer in bench.of(number, Stepped)]


def assert_never_back(seen: list[tuple[int, float]]) -> None:
    assert all(0 <= fraction <= 1 for _, fraction in seen)
    for (pass_, before), (next_pass, after) in pairwise(seen):
        assert next_pass > pass_ or after >= before - 1e-9, seen


@given(
    images=st.lists(
        st.tuples(st.sampled_from([64, 96]), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2)),
        min_size=1,
        max_size=5,
    ),
    together=st.integers(1, 4),
)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_the_bar_of_a_whole_image_never_runs_back_and_ends_at_one(images, together):
    bench = Bench(together=together)
    for number, (side, steps, passes, lane) in enumerate(images):
        bench.admit(number, side=side, steps=steps, max_passes=passes, lane=lane)
        bench.engine.turn()
    bench.run()
    for number in range(len(images)):
        seen = fractions(bench, number)
        assert_never_back(seen)
        assert seen[-1][1] == pytest.approx(1.0)
        assert bench.ends()[number] == ["done"]


def test_the_bar_of_a_tiled_image_never_runs_back():
    """Tiles of an image get out of step when a more urgent image takes places in the batch."""
    bench = Bench(FakeRestorer(tile_px=64), together=4)
    bench.admit(1, side=128, lane=2, steps=8)
    bench.engine.turn()
    for number in (2, 3):
        bench.admit(number, side=64, lane=0, steps=4)
    bench.run()
    assert len(fractions(bench, 1)) > 8
    assert_never_back(fractions(bench, 1))


def test_the_bar_of_an_image_with_edge_tiles_never_runs_back():
    bench = Bench(FakeRestorer(tile_px=64), together=4)
    bench.admit(1, side=(128, 96), steps=8)
    bench.run()
    assert_never_back(fractions(bench, 1))


# --- the shipped bundle


@pytest.fixture(scope="module")
def shipped():
    if not BUNDLE.is_dir():
        pytest.skip("models/bundles/autodir-small is not there")
    from models.families import load_restorer

    return load_restorer(BUNDLE, torch.device("cpu"))


def test_images_that_share_an_engine_come_out_as_if_alone(shipped, one_thread):
    """Bit for bit on a CPU with batches of one; three sizes, two passes allowed, begun one after another."""
    from PIL import Image

    from models.drive import restore_one
    from models.pixels import to_pixels, to_tensor

    with Image.open(PHOTO) as photo:
        whole = np.asarray(photo.convert("RGB"))
    crops = [whole[40:136, 60:156], whole[10:106, 20:148], whole[80:144, 100:196]]
    controls = [{"seed": seed, "steps": 2, "max_passes": 2} for seed in (11, 22, 33)]
    said: list[object] = []
    engine = Engine({"": Resident(shipped, Limits(together=1, megapixels=100.0))}, said.append)
    for number, (crop, control) in enumerate(zip(crops, controls, strict=True)):
        engine.admit(Task(id=str(number), pixels=crop, controls=control, since_s=float(number)))
        engine.turn()
    while engine.busy:
        engine.turn()
    done = {int(answer.id): answer for answer in said if isinstance(answer, Done)}
    for number, (crop, control) in enumerate(zip(crops, controls, strict=True)):
        alone = restore_one(shipped, Request(image=to_tensor(crop), controls=Controls(**control)))
        np.testing.assert_array_equal(done[number].pixels, to_pixels(alone.image))
        assert done[number].report["stop_reason"] == alone.report.stop_reason


def test_a_step_that_is_tried_again_draws_no_other_noise(shipped, one_thread):
    """Out of memory after the draw, with a sampler that adds noise at each step: the seed must still decide."""

    class ShortOnce(AutoDIR):
        short = False

        def _noise(self, tracks, like):
            drawn = super()._noise(tracks, like)
            if self.short and len(tracks) > 1:
                self.short = False
                raise OUT_OF_MEMORY
            return drawn

    loop = replace(shipped.config.loop, sampler="euler-ancestral", end_timestep=0.0)
    config = replace(shipped.config, loop=loop)
    restorer = ShortOnce(config, shipped.assessor, shipped.air, shipped.scm, shipped.device)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)

    def restored(short):
        restorer.short = short
        bench = Bench(restorer, together=2)
        for number in (1, 2):
            bench.engine.admit(
                Task(id=str(number), pixels=pixels, controls={"seed": number, "steps": 4, "prompt": "noise"})
            )
        bench.run()
        return [bench.of(number, Done)[0].pixels.astype(int) for number in (1, 2)]

    for calm, troubled in zip(restored(False), restored(True), strict=True):
        assert np.abs(calm - troubled).max() <= 1


def test_images_of_one_shape_that_share_batches_come_out_all_but_alike(shipped, one_thread):
    """A batch of another size may round otherwise: at most a level or so of 255 apart from being restored alone."""
    from PIL import Image

    from models.drive import restore_one
    from models.pixels import to_pixels, to_tensor

    with Image.open(PHOTO) as photo:
        whole = np.asarray(photo.convert("RGB"))
    crops = [whole[y : y + 96, 60:156] for y in (0, 40, 80)]
    said: list[object] = []
    engine = Engine({"": Resident(shipped, Limits(together=4, megapixels=100.0))}, said.append)
    for number, crop in enumerate(crops):
        engine.admit(
            Task(id=str(number), pixels=crop, controls={"seed": number, "steps": 4, "prompt": "remove the blur"})
        )
    while engine.busy:
        engine.turn()
    assert max(answer.images for answer in said if isinstance(answer, Turned)) == 3
    done = {int(answer.id): answer for answer in said if isinstance(answer, Done)}
    for number, crop in enumerate(crops):
        request = Request(image=to_tensor(crop), controls=Controls(seed=number, steps=4, prompt="remove the blur"))
        alone = to_pixels(restore_one(shipped, request).image)
        assert np.abs(done[number].pixels.astype(int) - alone).max() <= 1
