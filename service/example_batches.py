"""Examples of batches for the OpenAPI document."""

from typing import Any

from service.example_problems import JOB_ID, JOB_URL

BATCH_ID = "01a21b5236b578228339cbc7bfceeac0"
A_FILE = "(the bytes of a photo)"
_URL = f"/batches/{BATCH_ID}"
_COUNTS = {
    "total": 2, "queued": 0, "running": 1, "succeeded": 0, "failed": 0, "canceled": 0, "expired": 0, "refused": 1,
    "deleted": 0,
}  # fmt: skip
_RUNNING = {
    "index": 1, "name": "beach.jpg", "status": "running", "job_id": JOB_ID, "job_url": JOB_URL, "result_url": None,
    "error": None,
}  # fmt: skip
_REFUSED = {
    "index": 2, "name": "notes.txt", "status": "refused", "job_id": None, "job_url": None, "result_url": None,
    "error": {
        "code": "not-an-image", "detail": "these 1,024 bytes are not an image",
        "hint": "send a JPEG, PNG, WebP, TIFF or AVIF file",
    },
}  # fmt: skip
_BATCH = {
    "id": BATCH_ID, "status": "running", "created_at": "2026-11-27T04:45:02.518000Z", "counts": _COUNTS,
    "events_url": f"{_URL}/events", "results_url": f"{_URL}/results.zip", "items": [_RUNNING, _REFUSED],
}  # fmt: skip
_DONE = {
    **_BATCH, "status": "completed", "counts": {**_COUNTS, "running": 0, "succeeded": 1},
    "items": [{**_RUNNING, "status": "succeeded", "result_url": f"{JOB_URL}/result"}, _REFUSED],
}  # fmt: skip
_CANCELED = {
    **_DONE, "counts": {**_COUNTS, "running": 0, "canceled": 1},
    "items": [{**_RUNNING, "status": "canceled"}, _REFUSED],
}  # fmt: skip

BATCH_PARAMETERS: dict[str, Any] = {"batch_id": BATCH_ID, "order": "ended", "partial": False}
"""By name."""
BATCH_RESPONSES: dict[tuple[str, str], dict[str, Any]] = {
    ("create_batch", "202"): {"running": _BATCH},
    ("batches", "200"): {
        "page": {"batches": [{name: _BATCH[name] for name in _BATCH if name != "items"}], "next": None},
    },
    ("batch", "200"): {"running": _BATCH, "completed": _DONE},
    ("delete_batch", "200"): {"canceled": _CANCELED},
    ("batch_events", "200"): {
        "item": {"id": "1795754703591-1", "event": "item", "data": '{"index": 1, "status": "succeeded"}'},
    },
}
"""By operation and status."""
BATCH_BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("create_batch", "multipart/form-data"): {"only": ["noise"], "image": [A_FILE, A_FILE]},
    ("create_batch", "application/json"): {
        "only": ["noise"], "images": [{"image_url": "https://photos.example/beach.jpg", "name": "beach"}],
    },
}  # fmt: skip
"""By operation and media type."""
