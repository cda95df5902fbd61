"""Runs a restorer, and other tools beside it, over pairs and writes down what came: automatic, told the task, and on
clean photographs.

Pictures go through one at a time, so that seconds are those of one picture.  What was measured is on disk before the
next picture starts; a picture that fails is a row with its error, and the rest goes on.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import Tensor

from models.drive import restore_one
from models.errors import ModelsError
from models.evaluation.measurements import AUTO, TOLD, Row, RowLog, Run, Scores
from models.evaluation.other_tools import Other
from models.evaluation.pairs import Pair, Picture, Pictures, read_pictures
from models.evaluation.perceptual import NO_JUDGES, Judges
from models.evaluation.psnr_ssim import METRICS
from models.pixels import to_pixels, to_tensor
from models.restorer import Controls, Request, Restored, Restorer
from models.vocabulary import CLEAN, degradation

Ask = Callable[[Controls, str | None], Controls | None]
"""From the run's controls and the right label to a mode's controls; None where the mode has nothing to say."""


def automatic(controls: Controls, expected: str | None) -> Controls | None:
    """The assessor decides."""
    return controls


def told_the_task(controls: Controls, expected: str | None) -> Controls | None:
    """The user says what is wrong, by the degradation's own prompt: one pass, whatever the assessor thinks."""
    return None if expected is None or expected == CLEAN else replace(controls, prompt=degradation(expected).prompt)


MODES: dict[str, Ask] = {AUTO: automatic, TOLD: told_the_task}

FAILURES = (ModelsError, OSError, RuntimeError, ValueError, MemoryError)
"""What one odd picture may raise without ending an hour's run; RuntimeError and ValueError are torch's and numpy's."""


class Watcher(Protocol):
    """What a run tells while it goes on."""

    def started(self, pair: Pair) -> None: ...
    def measured(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        """`pictures` by name: input, the modes and tools measured now, truth; empty when they could not be read."""
        ...


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A restorer and how to ask it, other tools to ask the same, and metrics beyond PSNR and SSIM.

    `crop_px` is as pairs.read_pictures takes it.
    """

    restorer: Restorer
    controls: Controls
    crop_px: int = 512
    modes: Sequence[str] = tuple(MODES)
    others: Sequence[Other] = ()
    judges: Judges = NO_JUDGES

    def run(self, pairs: Iterable[Pair], log: RowLog, watcher: Watcher) -> None:
        """Measure what the log does not have: pairs without a row, and tools that joined later."""
        for pair in pairs:
            if self.done(pair, log):
                continue
            watcher.started(pair)
            row, pictures = self._row(pair, log.measured(_key(pair)))
            log.append(row)
            watcher.measured(row, pictures)

    def done(self, pair: Pair, log: RowLog) -> bool:
        """Whether there is nothing left to measure of a pair; what failed is tried again."""
        row = log.measured(_key(pair))
        return row is not None and not self._missing(pair, row)

    def _missing(self, pair: Pair, row: Row | None) -> list[Other]:
        runs = {} if row is None else row.runs
        asked = [other for other in self.others if other.answers(pair)]
        return [other for other in asked if other.name not in runs or runs[other.name].error is not None]

    def _row(self, pair: Pair, earlier: Row | None) -> tuple[Row, dict[str, Picture]]:
        try:
            return self.measure(pair, earlier)
        except FAILURES as error:
            said = _said(error)
            if earlier is not None:  # a file that is gone today takes nothing from what was measured of it
                lost = {other.name: Run(error=said) for other in self._missing(pair, earlier)}
                return earlier.model_copy(update={"runs": {**earlier.runs, **lost}}), {}
            return Row(task=pair.task, subset=pair.subset, name=pair.name, expected=pair.expected, error=said), {}

    def measure(self, pair: Pair, earlier: Row | None = None) -> tuple[Row, dict[str, Picture]]:
        """One picture in every mode and by every tool, and the pictures by name; `earlier` is not measured again.

        Raises:
            PhotoError: a file cannot be read, or the two are of different sizes.
        """
        pictures = read_pictures(pair, self.crop_px)
        shown = {"input": pictures.degraded}
        row = earlier or self._ours(pair, pictures, shown)
        runs = dict(row.runs)
        for other in self._missing(pair, row):
            runs[other.name] = self._theirs(other, pair, pictures, shown)
        if pictures.truth is not None:
            shown["truth"] = pictures.truth
        return row.model_copy(update={"runs": runs}), shown

    def _ours(self, pair: Pair, pictures: Pictures, shown: dict[str, Picture]) -> Row:
        expected = pair.expected if pair.expected in (*self.restorer.names, CLEAN) else None
        runs: dict[str, Run] = {}
        for mode in self.modes:
            controls = MODES[mode](self.controls, expected)
            if controls is not None:
                runs[mode], shown[mode] = self._restore(pictures, controls)
        height, width = pictures.degraded.shape[:2]
        return Row(
            task=pair.task,
            subset=pair.subset,
            name=pair.name,
            expected=expected,
            width_px=width,
            height_px=height,
            scores=self._scores(pictures.degraded, pictures.truth),
            runs=runs,
        )

    def _restore(self, pictures: Pictures, controls: Controls) -> tuple[Run, Picture]:
        image: Tensor = to_tensor(pictures.degraded)
        started_s = time.monotonic()
        restored: Restored = restore_one(self.restorer, Request(image=image, controls=controls))
        seconds = time.monotonic() - started_s
        picture = to_pixels(restored.image).astype(np.uint8, copy=False)
        run = Run(
            scores=self._scores(picture, pictures.truth),
            found=restored.report.degradations,
            repaired=restored.report.labels,
            passes=len(restored.report.passes),
            stop_reason=restored.report.stop_reason,
            seconds=seconds,
        )
        return run, picture

    def _theirs(self, other: Other, pair: Pair, pictures: Pictures, shown: dict[str, Picture]) -> Run:
        try:
            picture, seconds = other.restore(pair, pictures, self.crop_px)
        except FAILURES as error:  # a tool that fails on a picture takes nothing from ours
            return Run(error=_said(error))
        shown[other.name] = picture
        return Run(scores=self._scores(picture, pictures.truth), seconds=seconds)

    def _scores(self, picture: Picture, truth: Picture | None) -> Scores:
        near = {} if truth is None else {name: measure(picture, truth) for name, measure in METRICS.items()}
        return {**near, **self.judges.measure(picture, truth)}


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _key(pair: Pair) -> tuple[str, str]:
    return pair.task, pair.name
