"""Examples of estimates for the OpenAPI document."""

from typing import Any

ESTIMATE_BODY: dict[str, Any] = {"images": [{"width": 1024, "height": 768}], "max_passes": 2, "lane": "bulk"}
_IMAGE = {
    "width": 1024, "height": 768, "megapixels": 0.786432, "seconds": 6.9, "device_seconds": 6.1, "extrapolated": False,
}  # fmt: skip
_QUEUE = {"position": 3, "wait_s": 12.4, "paused": False}
_KNOWN = {
    "kind": "restore", "bundle": "autodir-small", "lane": "bulk", "images": [_IMAGE], "device_seconds": 6.1,
    "eta_s": 19.3, "queue": _QUEUE,
    "memory": {"held_bytes": 6442450944, "device_bytes": 24152899584, "megapixels_at_once": 11.4}, "workers": 1,
    "learned": {
        "jobs": 64, "fixed_s": 0.011, "s_per_megapixel": 0.063, "passes": 1.6, "steps": 50.0, "min_megapixels": 0.06,
        "max_megapixels": 12.2,
    },
    "reasons": [],
}  # fmt: skip
_UNKNOWN = {
    **_KNOWN, "images": [{**_IMAGE, "seconds": None, "device_seconds": None}], "device_seconds": None, "eta_s": None,
    "learned": None, "memory": None, "workers": 0, "queue": {"position": 0, "wait_s": 0.0, "paused": False},
    "reasons": [
        "no job of this kind has succeeded in this bundle lately, so its cost is not known",
        "no worker of this bundle is ready",
    ],
}  # fmt: skip
ESTIMATE_RESPONSES: dict[tuple[str, str], dict[str, Any]] = {
    ("estimate_images", "200"): {"known": _KNOWN, "nothing-learned": _UNKNOWN},
}
