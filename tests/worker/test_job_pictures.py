"""The results of a job: several with one seed after the other, their codes, and the mark that they get."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from job_run_bench import ID, PASS, Bench, FakeCodec, outcome_of

from jobs.record import Change
from jobs.spec import JobControls
from jobs.state import State
from models.errors import ProvenanceError, UnfitControls
from models.photo.read import Photo
from models.warning_codes import CodedWarning
from worker.messages import Done, Task

DRAWN = PASS.model_copy(update={"by": "diffusion"})
CHANGE = Change(mean_levels=1.0, max_levels=9.0, share=0.5)


def done(level=1, passes=(DRAWN,), **changes):
    outcome = outcome_of(0, "clean").model_copy(update={"passes": passes, "change": CHANGE, **changes})
    return Done(id=ID, outcome=outcome, pixels=np.full((8, 8, 3), level, np.uint8), work_s=2.0)


@dataclass
class KeepingCodec(FakeCodec):
    photo: Photo = field(default_factory=lambda: Photo(pixels=np.zeros((8, 8, 3), np.uint8), format="png"))
    asked: list[tuple[object, int]] = field(default_factory=list)
    marks: list[object] = field(default_factory=list)

    async def decode(self, data, crop=None, scale=1):
        self.asked.append((crop, scale))
        if self.decode_error:
            raise self.decode_error
        return self.photo

    async def encode(self, photo, pixels, kind=None, quality=None, metadata=True, marking=None):
        self.marks.append(marking)
        if self.encode_error:
            raise self.encode_error
        return bytes([int(pixels[0, 0, 0])]), "png"

    def warnings(self, photo, kind):
        return (CodedWarning("no alpha", "lost-alpha"),)


class TurnsEngine:
    """Gives one answer to each task."""

    def __init__(self, bench, answers):
        self.bench, self.answers, self.tasks = bench, list(answers), []

    def send(self, command):
        if isinstance(command, Task):
            self.tasks.append(command)
            self.bench.run.answers.put_nowait(self.answers.pop(0))
        return True


def bench_of(*answers, codec=None, **controls):
    bench = Bench(codec=codec or KeepingCodec(), controls=JobControls(**controls))
    engine = TurnsEngine(bench, answers)
    object.__setattr__(bench.run.services, "engine", engine)
    return bench, engine


def test_variants_are_results_of_the_seeds_one_after_the_other():
    bench, engine = bench_of(done(1), done(2), done(3), variants=3, seed=40)
    finished = bench.end()
    assert finished.state is State.SUCCEEDED and finished.work_s == 6
    assert [task.controls.seed for task in engine.tasks] == [40, 41, 42]
    assert [task.send_passes for task in engine.tasks] == [True, False, False]
    variants = finished.outcome.variants
    assert [variant.seed for variant in variants] == [40, 41, 42]
    assert [bench.store.blobs[variant.result.blob] for variant in variants] == [b"\1", b"\2", b"\3"]
    assert variants[0].result == finished.outcome.result
    assert len(finished.outcome.passes) == 1


def test_where_no_noise_is_drawn_one_variant_is_made_and_a_warning_says_so():
    bench, engine = bench_of(done(1, passes=(PASS,)), variants=4)
    outcome = bench.end().outcome
    assert len(engine.tasks) == 1 and len(outcome.variants) == 1
    assert outcome.warning_codes == ("lost-alpha", "equal-variants")
    assert len(outcome.warnings) == 2


def test_a_job_with_one_result_lists_no_variants():
    bench, _ = bench_of(done(1))
    assert bench.end().outcome.variants == ()


def test_a_job_that_fails_at_a_later_variant_keeps_no_results_and_discards_all():

    class Fails(KeepingCodec):
        async def encode(self, photo, pixels, *rest):
            if len(self.marks) == 1:
                self.encode_error = ProvenanceError("the certificate has expired")
            return await super().encode(photo, pixels, *rest)

    bench, _ = bench_of(done(1), done(2), codec=Fails(), variants=2)
    finished = bench.end()
    assert (finished.state, finished.outcome.failure.code) == (State.FAILED, "provenance")
    assert finished.outcome.variants == () and finished.outcome.result is None


def test_crop_and_scale_reach_the_decoder_and_the_whole_photo_the_engine():
    codec, whole, small = KeepingCodec(), np.zeros((16, 16, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    pixels = np.zeros((8, 8, 3), np.uint8)
    codec.photo = Photo(pixels=pixels, format="jpeg", whole=whole, small=small, compressed=True)
    bench, engine = bench_of(done(), codec=codec, crop=(1, 2, 3, 4), scale=2)
    bench.end()
    assert codec.asked == [((1, 2, 3, 4), 2)]
    assert engine.tasks[0].whole is whole
    assert engine.tasks[0].small is small and engine.tasks[0].compressed


def test_a_crop_that_is_not_within_the_photo_fails_with_its_own_code():
    bench, _ = bench_of(done(), codec=KeepingCodec(decode_error=UnfitControls("got crop 1,2,3,4")))
    failure = bench.end().outcome.failure
    assert (failure.code, failure.detail) == ("bad-controls", "got crop 1,2,3,4")


@pytest.mark.parametrize(
    ("answer", "drawn"),
    [(done(passes=(DRAWN,)), True), (done(passes=(PASS,)), False), (done(passes=()), None),
     (done(change=CHANGE.model_copy(update={"share": 0.0})), None)],
)  # fmt: skip
def test_a_result_is_marked_with_what_was_done(answer, drawn):
    codec = KeepingCodec()
    bench, _ = bench_of(answer, codec=codec)
    object.__setattr__(bench.run.services, "version_of", lambda bundle: "7")
    bench.end()
    (marking,) = codec.marks
    assert (None if marking is None else marking.mark.drawn) is drawn
    if marking is not None:
        assert (marking.mark.bundle, marking.mark.bundle_version) == ("b", "7")
