"""Runs a restorer and other tools over pairs and clean photos, and logs the results.

Photos are restored one at a time, so that the seconds are those of one photo.  Each result is on disk before the next
photo starts.  A photo that fails gets a row with its error, and the run continues.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import Tensor

from models.controls import Controls
from models.drive import restore_one
from models.errors import ModelsError
from models.evaluation.derived import DerivedPair, read_derived
from models.evaluation.measurements import AUTO, ONLY, TOLD, Restoration, Row, RowLog, Scores
from models.evaluation.other_tools import OtherTool
from models.evaluation.pairs import Pair, Picture, Pictures
from models.evaluation.perceptual import NO_METRICS, LoadedMetrics
from models.evaluation.spectrum import Peaks, compare_peaks
from models.evaluation.ssim import METRICS
from models.evaluation.tile_agreement import brightness_drift, seam_jump
from models.pixels import to_pixels, to_tensor
from models.restorer import Request, Restored, Restorer
from models.vocabulary import CLEAN, degradation

ModeControls = Callable[[Controls, str | None], Controls | None]
"""Maps the controls of the run and the expected label to the controls of a mode; None if the mode does not apply."""


def automatic(controls: Controls, expected: str | None) -> Controls | None:
    """The assessor decides."""
    return controls


def told_the_label(controls: Controls, expected: str | None) -> Controls | None:
    """The prompt of the expected degradation is given: one pass, regardless of the assessor."""
    return None if expected is None or expected == CLEAN else replace(controls, prompt=degradation(expected).prompt)


MODES: dict[str, ModeControls] = {AUTO: automatic, TOLD: told_the_label}

FAILURES = (ModelsError, OSError, RuntimeError, ValueError, MemoryError)
"""Errors of one photo that do not end the run; torch raises RuntimeError and numpy ValueError."""


class Listener(Protocol):
    """Receives the progress of a run."""

    def started(self, pair: Pair) -> None: ...
    def measured(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        """`pictures` by name: input, the modes and tools just measured, truth; empty if they could not be read."""
        ...


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A restorer with its controls and modes, other tools, and learned metrics.

    `crop_px` is passed to pairs.read_pictures.  With `tile_px`, each photo is also restored in tiles of that side.
    """

    restorer: Restorer
    controls: Controls
    crop_px: int = 512
    modes: Sequence[str] = tuple(MODES)
    other_tools: Sequence[OtherTool] = ()
    learned_metrics: LoadedMetrics = NO_METRICS
    tile_px: int | None = None

    def run(self, pairs: Iterable[Pair], log: RowLog, listener: Listener) -> None:
        """Measure pairs without a row in the log, and tools that were added later."""
        for pair in pairs:
            if self.done(pair, log):
                continue
            listener.started(pair)
            row, pictures = self._row(pair, log.measured(_key(pair)))
            log.append(row)
            listener.measured(row, pictures)

    def done(self, pair: Pair, log: RowLog) -> bool:
        """Returns whether a pair is fully measured; failures are measured again."""
        row = log.measured(_key(pair))
        return row is not None and not self._missing_tools(pair, row)

    def _missing_tools(self, pair: Pair, row: Row | None) -> list[OtherTool]:
        if isinstance(pair, DerivedPair):
            return []
        runs = {} if row is None else row.runs
        covering = [tool for tool in self.other_tools if tool.covers(pair)]
        return [tool for tool in covering if tool.name not in runs or runs[tool.name].error is not None]

    def _row(self, pair: Pair, earlier: Row | None) -> tuple[Row, dict[str, Picture]]:
        try:
            return self.measure(pair, earlier)
        except FAILURES as error:
            message = _one_line(error)
            if earlier is not None:  # keep the earlier results of a file that is missing now
                lost = {tool.name: Restoration(error=message) for tool in self._missing_tools(pair, earlier)}
                return earlier.model_copy(update={"runs": {**earlier.runs, **lost}}), {}
            return Row(task=pair.task, subset=pair.subset, name=pair.name, expected=pair.expected, error=message), {}

    def measure(self, pair: Pair, earlier: Row | None = None) -> tuple[Row, dict[str, Picture]]:
        """Restore one photo in every mode and with every tool; returns its row and the pictures by name.

        Args:
            earlier: a row whose results are kept; only missing tools are measured.

        Raises:
            PhotoError: a file cannot be read, or the sizes do not match.
        """
        pictures = read_derived(pair, self.crop_px)
        named = {"input": pictures.degraded}
        row = earlier or self._measure_bundle(pair, pictures, named)
        runs = dict(row.runs)
        for tool in self._missing_tools(pair, row):
            runs[tool.name] = self._measure_tool(tool, pair, pictures, named)
        if pictures.truth is not None:
            named["truth"] = pictures.truth
        return row.model_copy(update={"runs": runs}), named

    def _measure_bundle(self, pair: Pair, pictures: Pictures, named: dict[str, Picture]) -> Row:
        expected = pair.expected if pair.expected in (*self.restorer.names, CLEAN) else None
        runs: dict[str, Restoration] = {}
        peaks: Peaks | None = None
        for mode, controls in self._controls(pair, expected).items():
            runs[mode], named[mode] = self._restore(pictures, controls)
            peaks = compare_peaks(pictures.degraded, named[mode], pictures.truth)
            update: dict[str, float] = {"peak": peaks.after}
            if mode == AUTO and self.tile_px is not None and not isinstance(pair, DerivedPair):
                update |= self._agreement(pictures, controls, named[mode])
            runs[mode] = runs[mode].model_copy(update=update)
        height, width = pictures.degraded.shape[:2]
        return Row(
            task=pair.task,
            subset=pair.subset,
            name=pair.name,
            expected=expected,
            width_px=width,
            height_px=height,
            scores=self._scores(pictures.degraded, pictures.truth),
            peak=None if peaks is None else peaks.before,
            truth_peak=None if peaks is None else peaks.truth,
            runs=runs,
        )

    def _controls(self, pair: Pair, expected: str | None) -> dict[str, Controls]:
        """Returns the controls of each mode; a mixture has a mode for each of its kinds instead of *told*."""
        if isinstance(pair, DerivedPair) and pair.kinds:
            known = [kind for kind in pair.kinds if kind in self.restorer.names]
            singles = {f"{ONLY}{kind}": replace(self.controls, prompt=degradation(kind).prompt) for kind in known}
            return {AUTO: self.controls, **singles}
        modes = [AUTO] if isinstance(pair, DerivedPair) else self.modes
        asked = {mode: MODES[mode](self.controls, expected) for mode in modes}
        return {mode: controls for mode, controls in asked.items() if controls is not None}

    def _agreement(self, pictures: Pictures, controls: Controls, whole: Picture) -> dict[str, float]:
        """Restore a photo in tiles, and compare it with its result; 0 if nothing was changed."""
        if np.array_equal(whole, pictures.degraded):
            return {"drift": 0.0, "seam": 0.0}
        request = Request(image=to_tensor(pictures.degraded), tile_px=self.tile_px, controls=controls)
        tiled = to_pixels(restore_one(self.restorer, request).image).astype(np.uint8, copy=False)
        return {"drift": brightness_drift(tiled, whole), "seam": seam_jump(tiled, whole)}

    def _restore(self, pictures: Pictures, controls: Controls) -> tuple[Restoration, Picture]:
        image: Tensor = to_tensor(pictures.degraded)
        started_s = time.monotonic()
        restored: Restored = restore_one(self.restorer, Request(image=image, controls=controls))
        seconds = time.monotonic() - started_s
        picture = to_pixels(restored.image).astype(np.uint8, copy=False)
        run = Restoration(
            scores=self._scores(picture, pictures.truth),
            found=restored.report.degradations,
            repaired=restored.report.labels,
            passes=len(restored.report.passes),
            stop_reason=restored.report.stop_reason,
            seconds=seconds,
        )
        return run, picture

    def _measure_tool(self, tool: OtherTool, pair: Pair, pictures: Pictures, named: dict[str, Picture]) -> Restoration:
        try:
            picture, seconds = tool.restore(pair, pictures, self.crop_px)
        except FAILURES as error:  # the failure of a tool does not affect our modes
            return Restoration(error=_one_line(error))
        named[tool.name] = picture
        return Restoration(scores=self._scores(picture, pictures.truth), seconds=seconds)

    def _scores(self, picture: Picture, truth: Picture | None) -> Scores:
        scores = {} if truth is None else {name: measure(picture, truth) for name, measure in METRICS.items()}
        return {**scores, **self.learned_metrics.measure(picture, truth)}


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _key(pair: Pair) -> tuple[str, str]:
    return pair.task, pair.name
