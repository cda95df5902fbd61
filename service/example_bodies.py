"""Examples of parameters and of the bodies that responses have, for the OpenAPI document."""

from typing import Any

from service.example_batches import BATCH_PARAMETERS
from service.example_problems import JOB_ID, JOB_URL
from service.example_redis import REDIS

QUEUED_ID = "01a21b5a9f0c7bd08d7ab3a6f21c9d54"
A_PICTURE = "(the bytes of a photo)"
TINY_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mNkaGhgwAaYGHCAwSkBAMyIARAUbW44AAAAAElFTkSuQmCC"
"""Eight by eight pixels, in base64."""

IDEMPOTENCY_KEY = "3b6a27bcceb6a42d62a3a8d02a6f0d73"

PARAMETERS: dict[str, Any] = {
    "exclude": "worker",
    "bundle": "autodir-small",
    "lane": "interactive",
    "deadline_s": 600,
    "webhook_url": "https://example.com/hooks/undegrade",
    "webhook_events": ["completed", "failed"],
    "result_url": "https://bucket.s3.example.com/restored.png?X-Amz-Signature=5f0c9b",
    "prompt": "remove the rain",
    "best_effort": False,
    "only": ["noise", "blur"],
    "skip": ["low-light"],
    "strength": 0.8,
    "fidelity": 0.9,
    "color_fix": False,
    "max_passes": 3,
    "steps": 50,
    "seed": 42,
    "format": "png",
    "preset": "auto",
    "scale": 2,
    "crop": "100,50,400,300",
    "variants": 2,
    "variant": 2,
    "quality": 90,
    "metadata": True,
    "Prefer": "wait=20",
    "Range": "bytes=0-65535",
    "If-Range": '"df003a801790542dab506265a38fc1d5"',
    "If-None-Match": '"df003a801790542dab506265a38fc1d5"',
    "Idempotency-Key": IDEMPOTENCY_KEY,
    "job_id": JOB_ID,
    **BATCH_PARAMETERS,
    "number": 1,
    "wait": 30,
    "limit": 20,
    "cursor": f"1795754702518-{JOB_ID}",
    "status": "succeeded",
    "label": ["album:summer"],
    "labels": "album=summer",
    "store": True,
    "since": "2026-11-27T00:00:00Z",
    "owner": "5f0c9b1d2e3f",
    "batch": "01a21b5236b578228339cbc7bfceeac0",
    "last-event-id": "1795754703335-0",
    "name": "photos-1a2b3c4d",
    "key": "5f0c9b1d2e3f",
    "reason": "submitted by mistake",
    "dry_run": True,
}
"""By name, in every route."""

DEGRADATIONS = [
    {"name": "noise", "probability": 0.851},
    {"name": "clean", "probability": 0.089},
    {"name": "rain", "probability": 0.06},
]
PARAMS = {
    "prompt": None, "only": [], "skip": ["low-light"], "strength": 0.8, "fidelity": None, "color_fix": False,
    "max_passes": None, "steps": 50, "seed": 1248275668694419, "format": "png", "quality": None, "metadata": True,
    "preset": "auto", "scale": 1, "crop": None, "variants": 1, "best_effort": False,
}  # fmt: skip
QUEUED = {
    "id": QUEUED_ID, "kind": "restore", "status": "queued", "cancel_requested": False, "bundle": "autodir-small",
    "lane": "standard", "created_at": "2026-11-27T04:45:02.518000Z", "started_at": None, "ended_at": None,
    "attempts": 0, "queue": {"position": 3, "eta_s": 12.4, "paused": False},
    "progress": {"fraction": 0.0, "pass_index": 0, "passes": 1, "step": 0, "steps": 1},
    "degradations": [], "understood": None, "passes": [], "stop_reason": None, "change": None, "checked": [],
    "credit": "",
    "params": {**PARAMS, "steps": None}, "timings": {}, "result": None, "variants": [], "warnings": [],
    "warning_codes": [], "error": None, "labels": {"album": "summer"}, "batch": None,
}  # fmt: skip
RUNNING = {
    **QUEUED, "id": JOB_ID, "status": "running", "started_at": "2026-11-27T04:45:03.050000Z", "attempts": 1,
    "queue": None, "progress": {"fraction": 0.25, "pass_index": 0, "passes": 3, "step": 38, "steps": 50},
    "degradations": DEGRADATIONS,
}  # fmt: skip
SUCCEEDED = {
    **RUNNING, "status": "succeeded", "ended_at": "2026-11-27T04:45:09.591000Z",
    "progress": {"fraction": 1.0, "pass_index": 0, "passes": 1, "step": 50, "steps": 50},
    "passes": [{
        "label": "noise", "source": "auto", "by": "diffusion", "probability_before": 0.851, "probability_after": 0.031,
        "kept": True, "seconds": 5.9, "max_change_levels": 21.9, "mean_change_levels": 3.1,
        "changed_share": 0.941, "image": f"{JOB_URL}/passes/1/image",
    }],
    "stop_reason": "clean", "change": {"mean_levels": 3.1, "max_levels": 21.9, "share": 0.941},
    "checked": ["text"],
    "warnings": ["photo.png: the camera's maker note was not kept"], "warning_codes": ["lost-metadata"],
    "params": PARAMS, "timings": {
        "queued": 0.21, "decode": 0.015, "turn": 0.002, "assess": 0.36, "steps": 5.61, "finish": 0.51, "restore": 6.48,
        "encode": 0.04, "store": 0.0,
    },
    "result": {
        "url": f"{JOB_URL}/result", "bytes": 1833201,
        "sha256": "df003a801790542dab506265a38fc1d56636ffe9ed60e4594cdf6e21e9bbebd2", "format": "png",
        "width": 1024, "height": 768, "expires_at": "2026-11-28T04:45:09Z",
    },
}  # fmt: skip
FAILED = {
    **RUNNING, "status": "failed", "ended_at": "2026-11-27T04:45:03.591000Z", "degradations": [],
    "progress": QUEUED["progress"],
    "error": {
        "code": "bad-image", "detail": "the file is damaged: it ends too early", "hint": "export the photo again",
    },
}  # fmt: skip
CANCELED = {**QUEUED, "status": "canceled", "ended_at": "2026-11-27T04:45:09.591000Z", "queue": None}
DETECTED = {
    "id": JOB_ID,
    "degradations": DEGRADATIONS,
    "timings": {
        "queued": 0.02,
        "decode": 0.014,
        "turn": 0.001,
        "assess": 0.358,
        "restore": 0.359,
    },
}
EVENT = {"id": "1795754703591-0", "event": "completed", "data": '{"state": "succeeded"}'}
DELIVERY = {
    "number": 1, "kind": "webhook", "event": "completed", "webhook_id": f"msg_{JOB_ID}_1",
    "origin": "https://example.com", "status": "waiting", "created_at": "2026-11-27T04:45:09.591000Z",
    "next_at": "2026-11-27T04:45:15.102000Z", "tries": 1,
    "attempts": [{
        "at": "2026-11-27T04:45:09.604000Z", "status": 500, "code": "status", "error": "the receiver answered 500",
        "seconds": 0.214,
    }],
}  # fmt: skip
LIMITS = {
    "max_bytes": 30_000_000, "max_megapixels": 50.0, "max_side_px": 65535, "max_queued": 1000, "max_wait_s": 60,
    "max_batch_images": 200, "max_batch_bytes": 1_000_000_000,
    "max_deadline_s": 604800.0, "keep_s": 86400, "formats": ["jpeg", "png", "webp", "tiff", "avif"],
    "lanes": ["interactive", "standard", "bulk"], "image_url": False, "uploads": True,
    "presets": [{
        "name": "preview", "description": "Quick: one pass of at most eight denoising steps, at full size.",
        "controls": {"max_passes": 1}, "steps_limit": 8, "floor_share": 1.0,
    }],
    "controls": {"scale": {"default": 1, "min": None, "max": None, "values": [1, 2, 4]}},
    "caller": {
        "key_id": "5f0c9b1d2e3f", "scopes": ["restore", "read"], "weight": 1, "expires_at": None,
        "quotas": {
            "requests": {"limit": 30, "remaining": 29, "window_s": 3, "reset_s": 1},
            "jobs": {"limit": 100, "remaining": 99, "window_s": None, "reset_s": None},
            "megapixels": {"limit": 5000, "remaining": 4987.25, "window_s": 86400, "reset_s": 41703},
            "waits": None,
        },
    },
}  # fmt: skip
UPLOAD = {
    "id": QUEUED_ID, "method": "PUT", "put_until": "2026-11-27T05:00:02.518Z",
    "expires_at": "2026-11-27T05:45:02.518Z", "max_bytes": 30_000_000,
    "url": f"https://images.s3.example/undegrade/{QUEUED_ID}/upload?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0a",
}  # fmt: skip
DEGRADATION = {
    "name": "noise", "aliases": ["noisy", "grain"], "prompt": "A photo needs noise artifact reduction",
    "fidelity": 1.0, "available": True,
}  # fmt: skip
MODEL = {
    "name": "autodir-small", "family": "autodir", "version": "6", "license": "Apache-2.0", "credit": "",
    "degradations": ["blur", "noise"], "prompts": "words", "workers": 1, "ready": 1,
}  # fmt: skip
WORKER = {
    "name": "photos-1a2b3c4d", "host": "photos", "version": "0.1.0", "bundle": "autodir-small", "bundle_version": "6",
    "sha256": "df003a801790542dab506265a38fc1d56636ffe9ed60e4594cdf6e21e9bbebd2", "device": "cuda:0",
    "device_name": "NVIDIA L4", "driver": "570.86.15", "device_bytes": 24152899584, "memory_bytes": 6442450944,
    "lanes": ["interactive", "standard", "bulk"], "max_batch": 8, "budget_mp": 11.4, "state": "busy", "ready": True,
    "reason": "", "drain": None, "in_hand": 1, "steps_per_s": 31.5, "jobs_ended": 1204, "started_ms": 1795754500020,
}  # fmt: skip
MARK = {"since_ms": 1795754702518, "by": "key 5f0c9b1d2e3f", "of": "worker"}
DRAINING = {**WORKER, "state": "draining", "drain": MARK}
LANE = {
    "bundle": "autodir-small", "lane": "bulk", "queued": 12, "running": 1, "oldest_s": 71.2, "eta_s": 44.0,
    "paused": False, "paused_since_ms": None, "paused_by": "",
}  # fmt: skip
SYSTEM = {
    "version": "0.1.0", "bundle": "autodir-small", "workers": [WORKER],
    "queued": {"interactive": 0, "standard": 3, "bulk": 12}, "paused_lanes": [], "running": 1, "seconds_per_job": 3.1,
    "store": "s3://images/undegrade", "redis": REDIS,
    "problems": ["Redis: maxmemory-policy is allkeys-lru: when memory is short, Redis deletes jobs; set it to "
                 "noeviction: CONFIG SET maxmemory-policy noeviction, and in the configuration file"],
}  # fmt: skip
