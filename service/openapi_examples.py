"""Examples for the OpenAPI document: of every parameter, every body, and every response with content.

The contents of pictures cannot be written in JSON; their examples are a description.
"""

from typing import Any

from service.example_batches import BATCH_BODIES, BATCH_RESPONSES
from service.example_bodies import (
    A_PICTURE,
    CANCELED,
    DEGRADATION,
    DELIVERY,
    DETECTED,
    DRAINING,
    EVENT,
    FAILED,
    LANE,
    LIMITS,
    MARK,
    MODEL,
    PARAMETERS,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    SYSTEM,
    TINY_PNG,
    UPLOAD,
    WORKER,
)
from service.example_estimates import ESTIMATE_BODY, ESTIMATE_RESPONSES
from service.example_problems import JOB_ID, add_problem_examples

RESPONSES: dict[tuple[str, str], dict[str, Any]] = {
    ("restore", "200"): {"succeeded": SUCCEEDED},
    ("restore", "202"): {"queued": QUEUED},
    ("detect", "200"): {"detected": DETECTED},
    ("detect", "202"): {"queued": {**QUEUED, "kind": "detect", "lane": "interactive"}},
    ("open_upload", "201"): {"open": UPLOAD},
    ("jobs", "200"): {"page": {"jobs": [QUEUED, SUCCEEDED], "next": f"1795754702518-{JOB_ID}"}},
    ("job", "200"): {"queued": QUEUED, "running": RUNNING, "succeeded": SUCCEEDED, "failed": FAILED},
    **BATCH_RESPONSES,
    **ESTIMATE_RESPONSES,
    ("retry", "202"): {"queued": QUEUED},
    ("delete", "200"): {"canceled": CANCELED},
    ("delete", "202"): {"running": {**RUNNING, "cancel_requested": True}},
    ("deliveries", "200"): {"deliveries": {"deliveries": [DELIVERY]}},
    ("redeliver", "202"): {"waiting": {**DELIVERY, "tries": 0}},
    ("events", "200"): {"completed": EVENT},
    ("limits", "200"): {"limits": LIMITS},
    ("degradations", "200"): {"degradations": [DEGRADATION]},
    ("models", "200"): {"models": [MODEL]},
    ("system", "200"): {"system": SYSTEM, "restore-key": {**SYSTEM, "store": None, "redis": None, "problems": []}},
    ("workers", "200"): {"workers": [WORKER]},
    ("drain_worker", "200"): {"draining": [DRAINING]},
    ("resume_worker", "200"): {"resumed": [WORKER]},
    ("queue", "200"): {"queue": {"lanes": [LANE]}},
    ("pause_lane", "200"): {"paused": {"lane": "interactive", "paused": True, "pause": {**MARK, "of": "lane"}}},
    ("resume_lane", "200"): {"resumed": {"lane": "interactive", "paused": False, "pause": None}},
    ("purge_queue", "200"): {
        "dry-run": {"matched": 12, "canceled": 0, "dry_run": True},
        "purged": {"matched": 12, "canceled": 12, "dry_run": False},
    },
    ("livez", "200"): {"alive": {"status": "alive", "reasons": []}},
    ("startupz", "200"): {"alive": {"status": "alive", "reasons": []}},
    ("readyz", "200"): {
        "ready": {"status": "ready", "reasons": [], "notes": []},
        "paused": {"status": "ready", "reasons": [], "notes": ["lane bulk is paused"]},
    },
    ("livez", "503"): {"dead": {"status": "not alive", "reasons": ["the listener for job changes has died"]}},
    ("startupz", "503"): {"dead": {"status": "not alive", "reasons": ["the listener for job changes has died"]}},
    ("readyz", "503"): {
        "no-worker": {"status": "not ready", "reasons": ["there is no worker for autodir-small"]},
    },
}
"""By operation and status, the examples of the content that is neither a picture nor a problem."""


def add_examples(route: dict[str, Any]) -> None:
    """Add the examples to one operation of an OpenAPI document."""
    operation = route["operationId"]
    for parameter in route.get("parameters", []):
        parameter.setdefault("example", PARAMETERS[parameter["name"]])
    for media_type, content in route.get("requestBody", {}).get("content", {}).items():
        content["example"] = _body(operation, media_type)
    for status, response in route["responses"].items():
        for media_type, content in response.get("content", {}).items():
            if media_type == "application/zip":
                content["example"] = "(the bytes of a zip file)"
            elif media_type.startswith("image/"):
                content["example"] = A_PICTURE
            elif examples := RESPONSES.get((operation, status)):
                content["examples"] = {name: {"value": value} for name, value in examples.items()}
    add_problem_examples(operation, route["responses"])


def _body(operation: str, media_type: str) -> dict[str, Any] | str:
    if operation == "estimate_images":
        return ESTIMATE_BODY
    if (operation, media_type) in BATCH_BODIES:
        return BATCH_BODIES[operation, media_type]
    if operation == "open_upload":
        return {"bytes": 1833201, "file_name": "holiday.jpg"}
    options = {"only": ["noise"], "strength": 0.8} if operation == "restore" else {"lane": "interactive"}
    if media_type == "multipart/form-data":
        return {"image": A_PICTURE, **options}
    if media_type == "application/json":
        return {"image_base64": TINY_PNG, **options}
    return A_PICTURE
