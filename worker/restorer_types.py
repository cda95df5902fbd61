"""Converts between what the queue stores (`jobs`) and what restorers use (`models.restorer`).

The engine child alone imports this: `models.restorer` loads torch, and `jobs` must not import `models`.
"""

from dataclasses import asdict

from jobs.record import Change, Outcome, PassRecord, Understood
from jobs.spec import JobControls
from models.controls import Controls
from models.restoration_report import Report
from models.warning_codes import codes_of


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
        warning_codes=codes_of(report.warnings),
        understood=Understood(**asdict(report.understood)) if report.understood else None,
        change=Change(**asdict(report.change)) if report.change else None,
        checked=report.checked,
        credit=report.credit,
    )
