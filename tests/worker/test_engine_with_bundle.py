"""The engine over the shipped bundle: images that share it are restored as if alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_bench import OUT_OF_MEMORY, Bench

from jobs.spec import JobControls
from models.autodir.restorer import AutoDIR
from models.controls import Controls
from models.restorer import Request
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.messages import BatchStepped, Done, Task
from worker.picking import BatchLimits

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "bundles" / "autodir-small"
PHOTO = ROOT / "examples" / "raccoon-noisy.jpg"


@pytest.fixture(scope="module")
def shipped():
    if not BUNDLE.is_dir():
        pytest.skip("models/bundles/autodir-small is not there")
    from models.families import load_restorer

    return load_restorer(BUNDLE, torch.device("cpu"))


def test_images_that_share_an_engine_are_restored_as_if_alone(shipped, one_thread):
    """Bit for bit on a CPU with batches of one; three sizes, two passes allowed, begun one after another."""
    from PIL import Image

    from models.drive import restore_one
    from models.pixels import to_pixels, to_tensor

    with Image.open(PHOTO) as photo:
        whole = np.asarray(photo.convert("RGB"))
    crops = [whole[40:136, 60:156], whole[10:106, 20:148], whole[80:144, 100:196]]
    controls = [{"seed": seed, "steps": 2, "max_passes": 2} for seed in (11, 22, 33)]
    answers: list[object] = []
    engine = Engine({"": Resident(shipped, BatchLimits(max_batch=1, megapixels=100.0))}, answers.append)
    for number, (crop, control) in enumerate(zip(crops, controls, strict=True)):
        engine.admit(Task(id=str(number), pixels=crop, controls=JobControls(**control), since_s=float(number)))
        engine.turn()
    while engine.busy:
        engine.turn()
    done = {int(answer.id): answer for answer in answers if isinstance(answer, Done)}
    for number, (crop, control) in enumerate(zip(crops, controls, strict=True)):
        alone = restore_one(shipped, Request(image=to_tensor(crop), controls=Controls(**control)))
        np.testing.assert_array_equal(done[number].pixels, to_pixels(alone.image))
        assert done[number].outcome.stop_reason == alone.report.stop_reason


def test_a_step_that_is_tried_again_draws_the_same_noise(shipped, one_thread):
    """Memory runs out after the draw, with a sampler that adds noise at each step: the seed must still decide."""

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
        bench = Bench(restorer, max_batch=2)
        for number in (1, 2):
            bench.engine.admit(
                Task(id=str(number), pixels=pixels, controls=JobControls(seed=number, steps=4, prompt="noise"))
            )
        bench.run()
        return [bench.of(number, Done)[0].pixels.astype(int) for number in (1, 2)]

    for calm, troubled in zip(restored(False), restored(True), strict=True):
        assert np.abs(calm - troubled).max() <= 1


def test_images_that_share_batches_differ_by_one_level_at_most(shipped, one_thread):
    """A batch of another size may round differently: at most one level of 255."""
    from PIL import Image

    from models.drive import restore_one
    from models.pixels import to_pixels, to_tensor

    with Image.open(PHOTO) as photo:
        whole = np.asarray(photo.convert("RGB"))
    crops = [whole[y : y + 96, 60:156] for y in (0, 40, 80)]
    answers: list[object] = []
    engine = Engine({"": Resident(shipped, BatchLimits(max_batch=4, megapixels=100.0))}, answers.append)
    for number, crop in enumerate(crops):
        engine.admit(
            Task(id=str(number), pixels=crop, controls=JobControls(seed=number, steps=4, prompt="remove the blur"))
        )
    while engine.busy:
        engine.turn()
    assert max(answer.images for answer in answers if isinstance(answer, BatchStepped)) == 3
    done = {int(answer.id): answer for answer in answers if isinstance(answer, Done)}
    for number, crop in enumerate(crops):
        request = Request(image=to_tensor(crop), controls=Controls(seed=number, steps=4, prompt="remove the blur"))
        alone = to_pixels(restore_one(shipped, request).image)
        assert np.abs(done[number].pixels.astype(int) - alone).max() <= 1
