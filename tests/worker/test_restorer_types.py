"""Conversions between the queue's records and the restorer's types."""

from dataclasses import fields

from jobs import record as record_types
from jobs.record import Outcome, PassRecord
from jobs.spec import JobControls
from models.controls import Controls
from models.restoration_report import Change, PassReport, Report, Understood
from models.warning_codes import CodedWarning
from worker.restorer_types import to_controls, to_outcome


def test_every_control_of_a_job_is_a_control_of_the_restorer_with_the_same_default():
    defaults = {field.name: field.default for field in fields(Controls)}
    for name, field in JobControls.model_fields.items():
        assert defaults[name] == field.default


def test_controls_keep_their_values():
    job = JobControls(prompt="rain", only=("rain",), strength=0.5, fidelity=0.25, max_passes=2, steps=7, seed=2**60)
    controls = to_controls(job)
    assert {name: getattr(controls, name) for name in JobControls.model_fields} == dict(job)


def test_a_report_becomes_an_outcome_without_blobs():
    entry = PassReport(
        label="noise", source="auto", by="diffusion", probability_before=0.9, probability_after=None, kept=True,
        seconds=1.5,
    )  # fmt: skip
    report = Report(
        degradations={"noise": 0.9}, passes=(entry,), stop_reason="", seed=3, steps=2,
        warnings=("w", CodedWarning("letters", "redrawn-text")), change=Change(mean_levels=1, max_levels=2, share=0.5),
        understood=Understood(label="noise", score=0.5, ignored=("please",)),
    )  # fmt: skip
    record = PassRecord(label="noise", source="auto", by="diffusion", probability_before=0.9, seconds=1.5)
    assert to_outcome(report) == Outcome(
        degradations={"noise": 0.9}, passes=(record,), stop_reason=None, seed=3, steps=2,
        warnings=("w", "letters"), warning_codes=("other", "redrawn-text"),
        change=record_types.Change(mean_levels=1, max_levels=2, share=0.5),
        understood=record_types.Understood(label="noise", score=0.5, ignored=("please",)),
    )  # fmt: skip
