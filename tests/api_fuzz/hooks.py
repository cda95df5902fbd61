"""Schemathesis' hooks: pictures to send, and the refusals that OpenAPI cannot predict.

Each exception has its reason, and is as narrow as the refusal's own words: any other refusal of valid data is a
failure.
"""

import atexit
import sys
from base64 import b64decode, b64encode
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.hooks import HookContext
from schemathesis.transport.serialization import serialize_binary

PNG = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mNkaGhgwAaYGHCAwSkBAMyIARAUbW44AAAAAElFTkSuQmCC"
)
WEBP = b64decode("UklGRhoAAABXRUJQVlA4TA4AAAAvAAAAAAcQEf0PRET/Aw==")
PICTURES = strategies.sampled_from([PNG, WEBP])
SENT_PICTURES = [PNG, WEBP, *(b64encode(data).decode() for data in (PNG, WEBP))]
BUNDLE = "autodir-small"
HOOK = "https://receiver.invalid/hook"
"""A URL that the service allows (run.py); its host does not exist."""
UPLOADS = ("/restore", "/detect")

schemathesis.openapi.format("binary", PICTURES)
schemathesis.openapi.format("byte", PICTURES.map(lambda data: b64encode(data).decode()))


@schemathesis.serializer("image/jpeg", "image/png", "image/webp", "image/tiff", "image/avif")
def picture_body(context: Any, value: Any) -> bytes:
    """Send bytes as they are; the service reads the format from the bytes, not from the type."""
    return serialize_binary(value)


NOT_IN_THE_SCHEMA = (
    "given twice",  # a field may stand in the query or in the body, not in both: OpenAPI has no rule across them
    "contradicts prompt, which decides alone",  # nor across two parameters of a query
    "without webhook_url",  # nor that one field needs another, across a query and a body
    "contradicts only",  # one name in two lists
    "shares of degradations contradict prompt",
    "is given twice",  # two words for one degradation in strength
    "'clean' is no repair",  # in strength
    "which reaches to",  # a crop that is not within the picture
    "nothing is left to repair",  # only and skip together
    "does not know",  # a degradation that this bundle does not repair
    "Did you mean",  # a plain word that looks like a typing error
    "expected one of noise",  # a word that resembles a known one, or has more characters than a word may have
    "send the image once",  # an image in the body and another one in the query
    "false needs a request that waits",  # `store` depends on the headers Accept and Prefer
    "false leaves no image to fetch",
    "comes after an image",  # a form has no order in a schema
    "contradicts store=false",  # a webhook needs the job that store=false does not keep
    "should be less than 9223372036854775808",  # the seed: schemathesis compares it as a float, and 2^63 + 190 passes
    "the variants have the next seeds",  # seed + variants
    "contains no letter, digit or sign",  # a prompt of spaces, accents or invisible characters
)
"""What the problem of a field says where no schema can say it."""
NOT_A_PICTURE = {"not-an-image", "unsupported-format"}
"""Codes for bytes that are no picture.  The schema only says that they are bytes."""
ACCEPTED: Counter[str] = Counter()
STILL_THERE: set[str] = set()
"""Jobs and batches that DELETE has canceled (200, 202): as documented, they stay until a second DELETE (204)."""


@schemathesis.hook
def before_add_examples(context: HookContext, examples: list[Any]) -> None:
    """Send the pictures that the examples only describe, and no two fields that contradict each other."""
    for case in examples:
        if case.operation.path == "/batches" and case.media_type == "multipart/form-data":
            case.body = {**case.body, "image": [PNG, WEBP]}
        if case.operation.path not in UPLOADS:
            continue
        if case.media_type == "multipart/form-data":
            case.body = {**case.body, "image": PNG}
        elif case.media_type != "application/json":
            case.body = PNG
        case.query = _compatible(case)


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Tell schemathesis which bundle and which URLs there are; another one is a violation then, and must be refused."""
    for path in (*UPLOADS, "/batches", "/estimate"):
        route = raw_schema["paths"][path]["post"]
        forms = [content["schema"] for content in route["requestBody"]["content"].values()]
        known = [form["properties"]["bundle"] for form in forms if "properties" in form]
        known += [parameter["schema"] for parameter in route.get("parameters", ()) if parameter["name"] == "bundle"]
        for schema in known:
            schema.pop("anyOf", None)
            schema.update(type="string", enum=[BUNDLE])
        for name in ("webhook_url", "result_url"):
            urls = [form["properties"][name] for form in forms if name in form.get("properties", {})]
            urls += [parameter["schema"] for parameter in route.get("parameters", ()) if parameter["name"] == name]
            for schema in urls:
                schema.pop("anyOf", None)
                schema.update(type="string", enum=[HOOK])


@schemathesis.hook
def map_case(context: HookContext, case: Any) -> Any:
    """Send valid uploads without two fields that contradict each other, so that most of them reach the worker."""
    if case.operation.path in UPLOADS and case.meta and case.meta.generation.mode.is_positive:
        case.query = _compatible(case)
    return case


def _compatible(case: Any) -> dict[str, Any]:
    """Return the query of an upload without what its body has, and without one side of a contradiction to a prompt."""
    in_body, query = case.body if isinstance(case.body, dict) else {}, case.query or {}
    unwanted = set(in_body)
    if in_body.get("only") or in_body.get("skip"):
        unwanted.add("prompt")
    elif "prompt" in {*in_body, *query}:
        unwanted |= {"only", "skip"}
    return {name: value for name, value in query.items() if name not in unwanted}


@schemathesis.hook
def after_call(context: HookContext, case: Any, response: Any) -> None:
    """Remember which jobs a DELETE canceled, and which it erased."""
    if case.method.upper() != "DELETE":
        return
    job_id = _target(case)
    if response.status_code in (200, 202):
        STILL_THERE.add(job_id)
    elif response.status_code == 204:
        STILL_THERE.discard(job_id)


def _target(case: Any) -> str:
    """Return the id of the job or the batch that a request is about."""
    return str(case.path_parameters.get("job_id") or case.path_parameters.get("batch_id"))


@schemathesis.hook
def filter_failure(context: HookContext, failure: Any, case: Any, response: Any) -> bool:
    """Return whether a failure counts."""
    reason = _reason_to_accept(type(failure).__name__, case, response)
    if reason:
        ACCEPTED[reason] += 1
    return reason is None


@atexit.register
def _report() -> None:
    """List the exceptions that were used, after schemathesis' own summary."""
    for reason, count in ACCEPTED.most_common():
        sys.stderr.write(f"accepted {count} times: {reason}\n")


def _reason_to_accept(failure: str, case: Any, response: Any) -> str | None:
    """Return why a failure is no failure of the service, or None."""
    if failure == "UseAfterFree" and _target(case) in STILL_THERE:
        return "the job was canceled, not yet deleted"
    if failure == "AcceptedNegativeData" and _has_empty_text(case):
        return "an empty text counts as absent"
    if failure == "AcceptedNegativeData" and case.operation.path == "/batches" and response.status_code in (202, 410):
        # 410: the same batch was made, with such an image, and deleted
        refused = response.status_code == 410 or any(item["error"] for item in response.json()["items"])
        return "a wrong image is refused alone" if refused else None
    if failure != "RejectedPositiveData":
        return None
    problem = response.json()
    if problem["code"] in NOT_A_PICTURE and not _has_picture(case):
        return "the bytes are not a picture"
    if problem["code"] == "range-not-satisfiable":  # the schema does not know how many bytes an image has
        return "the range begins after the end of the image"
    if problem["code"] == "idempotency-key-reused":  # every case may send the example's key
        return "another request had the same Idempotency-Key"
    if problem["code"] == "gone" and "which this request made before" in problem["detail"]:
        return "what was made with the same Idempotency-Key was deleted"
    if case.operation.path == "/estimate" and isinstance(case.body, dict) and case.body.get("kind") == "detect":
        unknown = {entry["field"] for entry in problem["errors"] if entry["problem"].startswith("unknown field")}
        return "detect has no such field" if unknown and unknown <= set(case.body) else None
    if problem["code"] == "prompt-not-understood":
        return "the schema does not know the words of prompts"
    if problem["code"] == "invalid-request":
        texts = [_known_text(entry["problem"]) for entry in problem["errors"]]
        return None if None in texts else texts[0]
    return None


def _known_text(problem: str) -> str | None:
    return next((text for text in NOT_IN_THE_SCHEMA if text in problem), None)


def _has_empty_text(case: Any) -> bool:
    """Return whether an upload has an empty text field, which counts as absent: HTML forms send all their fields.

    `allowEmptyValue` says so of a query, but schemathesis does not know it, and forms have no such word.
    """
    form = case.body if case.media_type == "multipart/form-data" and isinstance(case.body, dict) else {}
    values = [*(case.query or {}).values(), *form.values()]
    return case.operation.path in UPLOADS and any(value in ("", [""]) for value in values)


def _has_picture(case: Any) -> bool:
    """Return whether a case sends one of our pictures, so that its refusal as not a picture is a failure."""
    values = case.body.values() if isinstance(case.body, dict) else [case.body]
    return any(getattr(value, "data", value) in SENT_PICTURES for value in values)
