"""Builds the reports of AutoDIR's loop."""

import time

from torch import Tensor

from models.autodir.config import AutoDIRConfig
from models.autodir.track import ImageRun
from models.image_change import change_between
from models.restoration_report import DIFFUSION, Change, PassReport, Report
from models.restorer import ENLARGING_REPAIR, NO_ENLARGING_REPAIR


def pass_report(run: ImageRun, result: Tensor, probability_after: float, *, kept: bool) -> PassReport:
    """Returns the report of the pass that has led to `result`, (3, H, W)."""
    change = change_between(run.image, result, run.controls.blend)
    return PassReport(
        label=run.label,
        source=run.source,
        by=f"specialist {run.specialist}" if run.specialist else DIFFUSION,
        probability_before=run.before[run.label],
        probability_after=probability_after,
        kept=kept,
        seconds=time.monotonic() - run.started_s,
        max_change_levels=change.max_levels,
        mean_change_levels=change.mean_levels,
        changed_share=change.share,
    )


def report_of(
    run: ImageRun, config: AutoDIRConfig, stop_reason: str, change: Change | None = None,
    warnings: tuple[str, ...] = (),
) -> Report:  # fmt: skip
    """Returns the report of an image so far; at its end with how much its result differs from it."""
    if run.controls.scale > 1 and ENLARGING_REPAIR not in config.names:
        warnings = (NO_ENLARGING_REPAIR, *warnings)
    return Report(
        degradations=dict(sorted(run.first.items(), key=lambda item: -item[1])),
        passes=tuple(run.passes),
        stop_reason=stop_reason,
        seed=run.controls.seed,
        steps=run.controls.steps_of(config.loop.steps),
        warnings=(*(run.plan.warnings if run.plan else ()), *warnings),
        understood=run.understood,
        change=change,
    )
