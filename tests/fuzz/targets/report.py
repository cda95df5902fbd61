"""The readers of a job's report: the record in Redis, and what the client makes of the service's JSON.

Each reads what its other half may have written in another version.
"""

import json

from pydantic import ValidationError

from jobs.errors import NewerSpec
from jobs.record import Failure, Outcome, PassRecord, read_record
from jobs.request_context import read_request_context
from jobs.spec import JobSpec
from undegrade_client.errors import UnexpectedAnswer
from undegrade_client.views import job_view, variant_rows

ID = "0123456789abcdef" * 2
SPEC = JobSpec(id=ID, bundle="b", submitted_ms=1)


def seeds() -> list[bytes]:
    passes = (PassRecord(label="rain", source="auto", by="diffusion", probability_before=0.9),)
    outcomes = [
        Outcome(degradations={"rain": 0.9, "clean": 0.1}, passes=passes, stop_reason="clean", seed=7),
        Outcome(failure=Failure(code="bad-image", detail="damaged", hint="save it again")),
    ]
    view = {
        "id": ID, "status": "succeeded", "kind": "restore", "progress": {"fraction": 1.0}, "seed": 1,
        "degradations": [{"name": "rain", "probability": 0.9}], "warnings": [{"code": "c", "text": "t"}],
        "passes": [{"label": "rain", "kept": True, "by": "network", "probability_before": 0.5, "seconds": 1.0}],
    }  # fmt: skip
    return [
        b"s" + SPEC.dump().encode(), b'r{"id": "a"}',
        *(b"o" + outcome.model_dump_json().encode() for outcome in outcomes),
        b"v" + json.dumps(view).encode(),
    ]  # fmt: skip


def run(data: bytes) -> None:
    kind, text = data[:1], data[1:]
    if kind == b"o":
        try:
            outcome = Outcome.model_validate_json(text)
        except ValidationError:
            return
        assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome
    elif kind == b"s":
        try:
            record = read_record({b"state": b"running", b"spec": text, b"enqueued_ms": b"1"})
        except NewerSpec:
            return
        assert record is None or record.spec.id
    elif kind == b"r":
        read_request_context(text)
    else:
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(body, dict):
            _view(body)


def _view(body: dict) -> None:
    try:
        view = job_view(body)
    except UnexpectedAnswer:
        return
    assert isinstance(view.over, bool)
    for entry in view.passes:
        assert isinstance(entry.visible, bool)
    variant_rows(view)
