"""Builds the reports of the DA-CLIP family."""

import time

from torch import Tensor

from models.daclip.track import ImageRun
from models.image_change import change_between
from models.restoration_report import DIFFUSION, Change, PassReport, Report


def pass_report(run: ImageRun, result: Tensor, *, drawn: bool) -> PassReport:
    """Returns the report of the pass that has led to `result`, (3, H, W); `drawn`: by a diffusion model."""
    change = change_between(run.image, result, run.controls.blend)
    return PassReport(
        label=run.label,
        source=run.source,
        by=DIFFUSION if drawn else "network",
        probability_before=run.probability,
        probability_after=None,  # assessing the result would cost more than a pass of the NAFNet
        kept=run.kept,
        seconds=time.monotonic() - run.started_s,
        max_change_levels=change.max_levels,
        mean_change_levels=change.mean_levels,
        changed_share=change.share,
    )


def report_of(
    run: ImageRun, stop_reason: str, change: Change | None, warnings: tuple[str, ...], *, steps: int
) -> Report:
    """Returns the report of an image so far; at its end with how much its result differs from it."""
    return Report(
        degradations=dict(sorted((run.first or run.probabilities).items(), key=lambda item: -item[1])),
        passes=run.passes,
        stop_reason=stop_reason,
        seed=run.controls.seed,
        steps=steps,
        warnings=(*run.warnings, *warnings),
        understood=run.understood,
        change=change,
    )
