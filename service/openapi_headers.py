"""The response headers of each operation, for the OpenAPI document, with an example of each."""

from typing import Any

from service.example_problems import JOB_ID, JOB_URL, REQUEST_ID

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_HEADERS: dict[str, tuple[str, str]] = {
    "X-Request-Id": ("The id of the request in the log.", REQUEST_ID),
    "traceparent": ("The request's span (W3C), where it belongs to a trace.", TRACEPARENT),
    "Location": ("The job's URL.", JOB_URL),
    "Content-Location": ("The URL of the image.", f"{JOB_URL}/result"),
    "Preference-Applied": ("The preference that was applied.", "wait=20"),
    "ETag": ("Names these bytes; send it back in If-None-Match.", '"df003a801790542dab506265a38fc1d5"'),
    "Accept-Ranges": ("The unit of Range.", "bytes"),
    "Content-Range": ("The bytes that the response contains, and the size of the image.", "bytes 0-65535/1833201"),
    "Cache-Control": ("The image belongs to one caller and may be deleted at any time.", "private, no-cache"),
    "Vary": ("The format depends on this request header.", "Accept"),
    "Content-Disposition": ("A name to save the image under.", f'inline; filename="{JOB_ID}.png"'),
    "X-Job-Id": ("The job's id.", JOB_ID),
    "X-Seed": ("The seed of the result.", "1248275668694419"),
    "X-Degradations": ("The degradations with their probabilities.", "noise=0.851, clean=0.089"),
    "Idempotency-Replayed": ("The answer is about what the same request made before.", "true"),
    "RateLimit-Policy": (
        "The quotas of the caller, where it has some (draft-ietf-httpapi-ratelimit-headers).",
        '"requests";q=20;w=2, "jobs";q=100;qu="jobs"',
    ),
    "RateLimit": (
        "How much of the quotas is left (`r`), and the seconds until all is (`t`).",
        '"requests";r=19;t=1, "jobs";r=99',
    ),
    "X-Warnings": ("The codes of the job's warnings.", "lost-metadata"),
    "X-Change": (
        "How much the image changed, in levels of 255.",
        "mean=3.10, max=21.9, share=0.9410",
    ),
    "Retry-After": ("Seconds until another try makes sense.", "5"),
    "WWW-Authenticate": ("How to send a key.", "Bearer"),
}
"""By name, the description and an example."""

_OF_A_PICTURE = ("ETag", "Vary", "Accept-Ranges", "Cache-Control", "Content-Disposition")
_ALWAYS: dict[tuple[str, str], tuple[str, ...]] = {
    ("restore", "202"): ("Location",),
    ("restore", "303"): ("Location", "Preference-Applied", "Cache-Control", "X-Job-Id", "X-Seed", "X-Degradations"),
    ("detect", "200"): ("Location",),
    ("retry", "202"): ("Location",),
    ("create_batch", "202"): ("Location",),
    ("batch_results", "200"): ("Content-Disposition",),
    ("detect", "202"): ("Location",),
    ("restore", "504"): ("X-Job-Id",),
    **{
        (operation, status): headers
        for operation in ("result", "pass_image")
        for status, headers in (
            ("200", _OF_A_PICTURE),
            ("206", (*_OF_A_PICTURE, "Content-Range")),
            ("303", ("Location", "Preference-Applied")),
            ("304", ("ETag", "Vary", "Cache-Control")),
            ("416", ("Content-Range",)),
        )
    },
    ("result", "409"): ("X-Job-Id",),
}
"""By operation and status."""
_SOMETIMES: dict[tuple[str, str], tuple[str, ...]] = {
    ("restore", "200"): (
        "Location", "Preference-Applied", "ETag", "Vary", "Content-Disposition", "Content-Location", "X-Job-Id",
        "X-Seed", "X-Degradations", "X-Warnings", "X-Change",
    ),
    ("restore", "202"): ("Preference-Applied",),
    ("restore", "303"): ("X-Warnings", "X-Change"),
    ("detect", "200"): ("Preference-Applied",),
    ("detect", "202"): ("Preference-Applied",),
    ("restore", "504"): ("Location", "Retry-After"),
    ("result", "409"): ("Retry-After",),
}  # fmt: skip
_OF_A_STATUS = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After", "507": "Retry-After"}
"""In every operation, if not always: a refusal whose end nobody can foresee has no Retry-After."""


_BEFORE_COUNTING = ("400", "401", "408", "414", "421", "431")
"""The refusals of requests that are not counted against a quota."""


def add_headers(route: dict[str, Any]) -> None:
    """Add to the responses of one operation their headers."""
    for status, response in route["responses"].items():
        place = (route["operationId"], status)
        required = _ALWAYS.get(place, ())
        optional = ("X-Request-Id", "traceparent", *_SOMETIMES.get(place, ()))
        if any(parameter["name"] == "Idempotency-Key" for parameter in route.get("parameters", ())):
            optional = (*optional, "Idempotency-Replayed")
        if status in _OF_A_STATUS and "security" in route:
            optional = (*optional, _OF_A_STATUS[status])
        if "security" in route and status not in _BEFORE_COUNTING:
            optional = (*optional, "RateLimit-Policy", "RateLimit")
        names = {name: name in required for name in (*required, *optional)}
        response["headers"] = {name: _header(name, always) for name, always in names.items()}


def _header(name: str, required: bool) -> dict[str, Any]:
    description, example = _HEADERS[name]
    return {"description": description, "required": required, "schema": {"type": "string"}, "example": example}
