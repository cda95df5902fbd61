"""Converts between what the queue stores (`jobs`) and what restorers use (`models.restorer`).

The engine child alone imports this: `models.restorer` loads torch, and `jobs` must not import `models`.
"""

from jobs.record import Outcome, PassRecord
from jobs.spec import JobControls
from models.controls import Controls
from models.restoration_report import Report


def to_controls(controls: JobControls) -> Controls:
    """Returns the restorer's controls.

    Raises:
        ControlsError: a value is out of range.
    """
    return Controls(**dict(controls))


def to_outcome(report: Report) -> Outcome:
    """Returns the part of a job's outcome that a restorer's report gives."""
    return Outcome(
        degradations=report.degradations,
        passes=tuple(PassRecord(**vars(entry)) for entry in report.passes),
        stop_reason=report.stop_reason or None,
        seed=report.seed,
        steps=report.steps,
        warnings=report.warnings,
    )
