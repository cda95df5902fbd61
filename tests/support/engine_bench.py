"""The worker's engine over a fake restorer, with short methods for what tests of the engine do all the time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from fakes import FakeRestorer

from jobs.spec import JobControls
from models.restorer import Request
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.messages import Done, Failed, Task
from worker.picking import BatchLimits

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")


class Bench:
    """An engine over a fake restorer; images are told apart by a number."""

    def __init__(self, restorer=None, max_batch=8, megapixels=100.0) -> None:
        self.restorer = restorer or FakeRestorer()
        self.answers: list[object] = []
        self.engine = Engine(
            {"": Resident(self.restorer, BatchLimits(max_batch=max_batch, megapixels=megapixels))}, self.answers.append
        )

    def admit(
        self, number: int, side=64, lane=0, since_s=None, detect_only=False, send_passes=True, **controls
    ) -> None:
        height, width = (side, side) if isinstance(side, int) else side
        pixels = np.full((height, width, 3), number, np.uint8)
        self.engine.admit(
            Task(
                id=str(number), pixels=pixels, lane=lane, since_s=float(number) if since_s is None else since_s,
                controls=JobControls(**{"seed": number, "steps": 4, **controls}), detect_only=detect_only,
                send_passes=send_passes,
            )
        )  # fmt: skip

    def admit_with(self, number: int, controls: JobControls) -> None:
        self.engine.admit(Task(id=str(number), pixels=np.zeros((64, 64, 3), np.uint8), controls=controls))

    def run(self, max_turns=1000) -> None:
        for _ in range(max_turns):
            if not self.engine.busy:
                return
            self.engine.turn()
        pytest.fail("the engine never ended")

    def of(self, number: int, kind: type | tuple[type, ...] = object) -> list:
        return [
            answer for answer in self.answers if getattr(answer, "id", None) == str(number) and isinstance(answer, kind)
        ]

    def ends(self) -> dict[int, list[str]]:
        """How each image ended, by number: 'done' or the code of its failure."""
        ended: dict[int, list[str]] = {}
        for answer in self.answers:
            if isinstance(answer, Done | Failed):
                ended.setdefault(int(answer.id), []).append("done" if isinstance(answer, Done) else answer.code)
        return ended


def named(number: int, error: Exception) -> Callable[..., None]:
    """A hook that raises whenever this image takes part."""

    def trouble(what):
        tracks = what if isinstance(what, list) else [what]
        names = [t.controls.seed if isinstance(t, Request) else t.name for t in tracks]
        if number in names:
            raise error

    return trouble
