"""The worker's engine over the family: images that join one another's batches between steps."""

import numpy as np
import torch

from jobs.spec import JobControls
from models.controls import Controls
from models.convert.daclip.conversion import convert_daclip
from models.drive import restore_one
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.restorer import Request
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.messages import BatchStepped, Done, Task
from worker.picking import BatchLimits


def test_a_late_image_joins_and_both_end_as_alone(checkpoint_file, tmp_path):
    convert_daclip([checkpoint_file("daclip"), checkpoint_file("unet", 64)], tmp_path / "made", torch.float32)
    restorer = load_restorer(tmp_path / "made", torch.device("cpu"))
    draw = np.random.default_rng(0)
    photos = {name: draw.integers(0, 256, (40, 48, 3), dtype=np.uint8) for name in ("first", "late", "seen")}
    said = {"first": {"steps": 4, "seed": 1}, "late": {"steps": 3, "seed": 2, "prompt": "snowy"}}
    told = []
    engine = Engine({"": Resident(restorer, BatchLimits(max_batch=4, megapixels=8.0))}, told.append)
    engine.admit(Task(id="first", pixels=photos["first"], controls=JobControls(**said["first"])))
    engine.turn()
    engine.admit(Task(id="late", pixels=photos["late"], controls=JobControls(**said["late"])))
    engine.admit(Task(id="seen", pixels=photos["seen"], detect_only=True))
    while engine.busy:
        engine.turn()
    done = {answer.id: answer for answer in told if isinstance(answer, Done)}
    assert done.keys() == photos.keys()
    assert max(answer.images for answer in told if isinstance(answer, BatchStepped)) == 2  # they did share a step
    assert done["seen"].pixels is None and len(done["seen"].outcome.degradations) == 10
    assert done["late"].outcome.passes[0].label == "snow"
    for name, words in said.items():
        alone = restore_one(restorer, Request(image=to_tensor(photos[name]), controls=Controls(**words))).image
        difference = np.abs(to_pixels(alone).astype(int) - done[name].pixels.astype(int))
        assert difference.max() <= 1  # rounding on either side of a half
