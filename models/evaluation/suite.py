"""Runs a restorer over pairs and writes down what came: automatic, told the task, and on clean photographs.

Pictures go through one at a time, so that seconds are those of one picture.  What was measured is on disk before the
next picture starts; a picture that fails is a row with its error.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import Tensor

from models.errors import ModelsError
from models.evaluation.metrics import METRICS
from models.evaluation.pairs import Pair, Picture, Pictures, read_pictures
from models.evaluation.rows import Row, RowLog, Run, Scores
from models.images import to_pixels, to_tensor
from models.loop import restore_one
from models.restorer import Controls, Request, Restored, Restorer
from models.vocabulary import CLEAN, degradation

AUTO, TOLD = "auto", "told"

Ask = Callable[[Controls, str | None], Controls | None]
"""From the run's controls and the right label to a mode's controls; None where the mode has nothing to say."""


def automatic(controls: Controls, expected: str | None) -> Controls | None:
    """The assessor decides."""
    return controls


def told_the_task(controls: Controls, expected: str | None) -> Controls | None:
    """The user says what is wrong, by the degradation's own prompt: one pass, whatever the assessor thinks."""
    return None if expected is None or expected == CLEAN else replace(controls, prompt=degradation(expected).prompt)


MODES: dict[str, Ask] = {AUTO: automatic, TOLD: told_the_task}


class Watcher(Protocol):
    """What a run tells while it goes on."""

    def started(self, pair: Pair) -> None: ...
    def measured(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        """`pictures` by name: input, the modes, truth; empty when the row is an error."""
        ...


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A restorer and how to ask it; `crop_px` as pairs.read_pictures takes it."""

    restorer: Restorer
    controls: Controls
    crop_px: int = 512
    modes: Sequence[str] = tuple(MODES)

    def run(self, pairs: Iterable[Pair], log: RowLog, watcher: Watcher) -> None:
        """Measure the pairs that the log has no row of."""
        for pair in pairs:
            if log.measured(_key(pair)):
                continue
            watcher.started(pair)
            row, pictures = self._row(pair)
            log.append(row)
            watcher.measured(row, pictures)

    def _row(self, pair: Pair) -> tuple[Row, dict[str, Picture]]:
        # RuntimeError and ValueError are torch's and numpy's: one odd picture must not end an hour's run
        try:
            return self.measure(pair)
        except (ModelsError, OSError, RuntimeError, ValueError, MemoryError) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            return Row(task=pair.task, subset=pair.subset, name=pair.name, expected=pair.expected, error=said), {}

    def measure(self, pair: Pair) -> tuple[Row, dict[str, Picture]]:
        """One picture in every mode, and the pictures by name.

        Raises:
            PhotoError: a file cannot be read, or the two are of different sizes.
        """
        expected = pair.expected if pair.expected in (*self.restorer.names, CLEAN) else None
        pictures = read_pictures(pair, self.crop_px)
        shown = {"input": pictures.degraded}
        runs: dict[str, Run] = {}
        for mode in self.modes:
            controls = MODES[mode](self.controls, expected)
            if controls is not None:
                runs[mode], shown[mode] = self._restore(pictures, controls)
        if pictures.truth is not None:
            shown["truth"] = pictures.truth
        height, width = pictures.degraded.shape[:2]
        row = Row(
            task=pair.task,
            subset=pair.subset,
            name=pair.name,
            expected=expected,
            width_px=width,
            height_px=height,
            scores=scores(pictures.degraded, pictures.truth),
            runs=runs,
        )
        return row, shown

    def _restore(self, pictures: Pictures, controls: Controls) -> tuple[Run, Picture]:
        image: Tensor = to_tensor(pictures.degraded)
        started_s = time.monotonic()
        restored: Restored = restore_one(self.restorer, Request(image=image, controls=controls))
        seconds = time.monotonic() - started_s
        picture = to_pixels(restored.image).astype(np.uint8, copy=False)
        run = Run(
            scores=scores(picture, pictures.truth),
            found=restored.report.degradations,
            repaired=restored.report.labels,
            passes=len(restored.report.passes),
            stop_reason=restored.report.stop_reason,
            seconds=seconds,
        )
        return run, picture


def scores(picture: Picture, truth: Picture | None) -> Scores:
    """Every metric against the truth; nothing without one."""
    return {} if truth is None else {name: measure(picture, truth) for name, measure in METRICS.items()}


def _key(pair: Pair) -> tuple[str, str]:
    return pair.task, pair.name
