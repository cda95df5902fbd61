"""Examples of every refusal, for the OpenAPI document: what a client of a route may see."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from service.batches.refusals import BatchTooLarge, NoSuchBatch
from service.busy_refusals import NewerJob, QueueIsFull, RedisUnavailable, StorageFull, StoreUnavailable, WaitOver
from service.direct_uploads import NoSuchUpload, UploadNotReceived, UploadsUnavailable
from service.failed_jobs import STATUSES
from service.idempotency.refusals import BadIdempotencyKey, IdempotencyKeyReused
from service.image_fetch import ImageUrlOff
from service.limits.refusals import RateLimited, TooManyJobs, TooManyMegapixels, TooManyWaits
from service.outgoing.refusals import (
    UrlBadAnswer,
    UrlBodyTooLarge,
    UrlNotAllowed,
    UrlRedirects,
    UrlTooSlow,
    UrlUnreachable,
)
from service.problems import PROBLEM_TYPE, problem_of
from service.ranges import RangeNotSatisfiable
from service.refusals import (
    Forbidden,
    Gone,
    InternalError,
    InvalidRequest,
    JobCanceled,
    JobFailed,
    KeyExpired,
    NoSuchJob,
    NoSuchLane,
    NoSuchPass,
    NoSuchShard,
    NoSuchVariant,
    NoSuchWorker,
    NotAcceptable,
    NotFinished,
    PromptNotUnderstood,
    Refusal,
    Unauthorized,
)
from service.request_refusals import (
    CrossOrigin,
    HeadersTooLarge,
    MalformedRequest,
    RequestTimedOut,
    UnknownHost,
    UriTooLong,
)
from service.transcode import ConversionFailed, TooManyConversions
from service.upload_refusals import (
    NotAnImage,
    TooLarge,
    TooManyPixels,
    UnsupportedBody,
    UnsupportedEncoding,
    UnsupportedFormat,
)
from service.webhooks.refusals import DeliveryHeld, NoSuchDelivery, WebhookDisabled

JOB_ID = "01a21b5236b578228339cbc7bfceeabf"
JOB_URL = f"/jobs/{JOB_ID}"
NOT_UNDERSTOOD = (
    "this bundle cannot repair shadow, which the prompt asks for. It can repair noise, blur; or ask for its own "
    "choice, as in 'make it better'."
)
REQUEST_ID = "79b79cd71dcf43c9a5d51ffea1cb516b"

UPLOADS = ("restore", "detect")
JOB_MAKERS = (*UPLOADS, "retry", "create_batch")
MAKERS = (*JOB_MAKERS, "open_upload")
SENDERS = (*MAKERS, "estimate_images")
DELETERS = ("delete", "delete_batch")
OF_A_BATCH = ("batch", "delete_batch", "batch_events", "batch_results")
"""These take an Idempotency-Key."""
IMAGES = ("result", "pass_image")
OF_A_JOB = ("job", "delete", "events", "retry", "deliveries", "redeliver", *IMAGES)
ADMIN_ACTS = ("drain_worker", "resume_worker", "pause_lane", "resume_lane", "purge_queue")
NEED_THE_IMAGE = ("restore", "detect", "result")
"""These refuse with `job-failed`: they need the job's success."""


@dataclass(frozen=True)
class _Example:
    """A refusal, and the operations that may answer with it; empty for all that document its status."""

    refusal: Refusal
    operations: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        error = self.refusal.extra.get("error")
        return f"{self.refusal.code}-{error['code']}" if isinstance(error, dict) else self.refusal.code


def _invalid(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {problem}", errors=[{"field": field, "problem": problem}])


def _job_failed(code: str, detail: str, hint: str) -> JobFailed:
    error = {"code": code, "detail": detail, "hint": hint}
    refusal = JobFailed(detail, hint=hint, job_id=JOB_ID, error=error)
    refusal.status = STATUSES.get(code, JobFailed.status)
    return refusal


_EXAMPLES = (
    _Example(MalformedRequest("got 2 Host headers, expected one")),
    _Example(BadIdempotencyKey("Idempotency-Key has 300 characters, expected at most 255"), MAKERS),
    _Example(Unauthorized("an API key is required")),
    _Example(KeyExpired("this API key has expired")),
    _Example(CrossOrigin("a page of another site may not send this request"), (*SENDERS, *DELETERS, *ADMIN_ACTS)),
    _Example(Forbidden("this API key has the scope restore, expected admin")),
    _Example(
        NoSuchWorker("there is no worker or host photo-1a2b3c4d; did you mean photos-1a2b3c4d?"),
        ("drain_worker", "resume_worker"),
    ),
    _Example(NoSuchLane("there is no lane bulks; did you mean bulk?"), ("pause_lane", "resume_lane")),
    _Example(NoSuchJob(f"there is no job {JOB_ID}"), OF_A_JOB),
    _Example(NoSuchBatch(f"there is no batch {JOB_ID}"), OF_A_BATCH),
    _Example(NoSuchShard("there is no shard 3; this service has 0, 1"), (*OF_A_JOB, *OF_A_BATCH)),
    _Example(ImageUrlOff("image_url is switched off in this service"), UPLOADS),
    _Example(NoSuchUpload(f"there is no upload {JOB_ID}"), UPLOADS),
    _Example(NoSuchPass(f"job {JOB_ID} has no image of pass 4"), ("pass_image",)),
    _Example(NoSuchDelivery(f"job {JOB_ID} has no delivery 3"), ("redeliver",)),
    _Example(DeliveryHeld("the webhook follows the delivery of the result"), ("redeliver",)),
    _Example(WebhookDisabled("webhook_url: its receiver has answered 410 Gone, so it gets no more webhooks"), UPLOADS),
    _Example(NoSuchVariant(f"job {JOB_ID} has no variant 3, it has 2"), ("result",)),
    _Example(NotAcceptable("got Accept: text/html")),
    _Example(RequestTimedOut("the body brought less than 10,000 bytes in 10 s")),
    _Example(NotFinished(f"job {JOB_ID} is running"), ("result", "retry")),
    _Example(JobCanceled(f"job {JOB_ID} was canceled", job_id=JOB_ID)),
    _Example(Gone(f"job {JOB_ID} has expired: jobs are kept for 86400 s after their end"), OF_A_JOB),
    _Example(
        UploadsUnavailable("this service keeps its images in a file store, which signs no URLs"), ("open_upload",)
    ),
    _Example(UploadNotReceived(f"upload {JOB_ID} has no image yet"), UPLOADS),
    _Example(Gone(f"upload {JOB_ID} has ended: uploads are kept for 3600 s"), ("open_upload",)),
    _Example(Gone(f"job {JOB_ID} was deleted during the wait"), UPLOADS),
    _Example(Gone(f"batch {JOB_ID} has expired: it is kept as long as its jobs"), (*OF_A_BATCH, "create_batch")),
    _Example(BatchTooLarge("the batch has more than 200 images, the limit"), ("create_batch",)),
    _Example(TooLarge("the image has 41,203,118 bytes or more, the limit is 30,000,000")),
    _Example(
        TooManyPixels("the image has 12000 x 9000 = 108.0 megapixels, the limit is 50 (and 65535 px a side)"),
        (*UPLOADS, "estimate_images"),
    ),
    _Example(UriTooLong("the URL has more than 16,384 bytes")),
    _Example(UnsupportedBody("got content type 'text/plain'")),
    _Example(UnsupportedEncoding("got Content-Encoding: gzip, and compressed bodies are not read")),
    _Example(NotAnImage("these 1,024 bytes are not an image")),
    _Example(UnsupportedFormat("the image is a GIF")),
    _Example(RangeNotSatisfiable("got Range: bytes=2000000-, and the image has 1,833,201 bytes"), IMAGES),
    _Example(UnknownHost("got Host: photos.example")),
    _Example(_invalid("strength", "Input should be less than or equal to 1"), ("restore",)),
    _Example(
        PromptNotUnderstood(
            NOT_UNDERSTOOD, errors=[{"field": "prompt", "problem": NOT_UNDERSTOOD}], can=["noise", "blur"],
            cannot=["shadow"],
        ),
        ("restore", "create_batch", "estimate_images"),
    ),
    _Example(_invalid("deadline_s", "Input should be greater than 0"), ("detect",)),
    _Example(
        IdempotencyKeyReused("Idempotency-Key: another request has used this key in the last 24 hours"), MAKERS
    ),
    _Example(_invalid("verbose", "unknown field")),
    _Example(
        _job_failed("bad-image", "the file is damaged: it ends too early", "export the photo again"), NEED_THE_IMAGE
    ),
    _Example(UrlNotAllowed("the operator of this service does not allow URLs of the host 'photos.example'"), UPLOADS),
    _Example(UrlUnreachable("the certificate of the URL's server is not valid for its name"), UPLOADS),
    _Example(UrlTooSlow("the exchange with the URL's server took longer than 30 s"), UPLOADS),
    _Example(UrlRedirects("the URL's server answers with a redirect, which is not followed"), UPLOADS),
    _Example(UrlBadAnswer("the URL's server answers 404", upstream_status=404), UPLOADS),
    _Example(UrlBodyTooLarge("the URL's file has more than 30000000 bytes"), UPLOADS),
    _Example(RateLimited("the quota is 10 requests at once, and one more every 0.1 s")),
    _Example(TooManyJobs("this caller has 100 jobs in line, the quota is 100"), UPLOADS),
    _Example(
        TooManyMegapixels("this caller has submitted 4,996.2 megapixels today, the quota is 5,000"), UPLOADS
    ),
    _Example(TooManyWaits("got 1000 open waits and event streams, the limit")),
    _Example(HeadersTooLarge("the request has more than 100 headers")),
    _Example(InternalError("unexpected server error")),
    _Example(
        _job_failed("out-of-memory", "the image does not fit into the memory of the device", "scale the image down"),
        NEED_THE_IMAGE,
    ),
    _Example(QueueIsFull("1000 jobs are queued, the limit is 1000"), JOB_MAKERS),
    _Example(RedisUnavailable("the job queue does not answer")),
    _Example(NewerJob("the job was written by a later version of undegrade"), OF_A_JOB),
    _Example(
        StoreUnavailable("the blob store cannot be read or written; /readyz gives the reason"), (*MAKERS, *IMAGES)
    ),
    _Example(TooManyConversions("got 2 conversions in progress, the limit"), ("result",)),
    _Example(ConversionFailed("a conversion to avif needs too much memory"), ("result",)),
    _Example(
        WaitOver(
            "the image was not ready after 60 s", job_id=JOB_ID, job_url=JOB_URL, result_url=f"{JOB_URL}/result"
        ),
        ("restore",),
    ),
    _Example(
        _job_failed(
            "deadline", "the deadline passed while the job was queued", "submit it again with a later deadline_s"
        ),
        NEED_THE_IMAGE,
    ),
    _Example(StorageFull("100000 MB of images are stored, the limit is 100000 MB"), MAKERS),
    _Example(_job_failed("storage-full", "there was no room for the result", "delete finished jobs"), NEED_THE_IMAGE),
)  # fmt: skip


def add_problem_examples(operation: str, responses: dict[str, Any]) -> None:
    """Add to the problems among an operation's responses their examples, and to unnamed ones a description."""
    for status, response in responses.items():
        content = response.get("content", {}).get(PROBLEM_TYPE)
        if content is None:
            continue
        found = _examples(operation, HTTPStatus(int(status)))
        content["examples"] = {
            example.name: {"value": problem_of(example.refusal, REQUEST_ID).model_dump()} for example in found
        }
        response["description"] = " ".join(dict.fromkeys(_sentence(example.refusal) for example in found))


def examples_of(kind: type[Refusal]) -> list[Refusal]:
    """Return the examples of one class of refusals."""
    return [example.refusal for example in _EXAMPLES if type(example.refusal) is kind]


def _examples(operation: str, status: HTTPStatus) -> list[_Example]:
    """Return the examples of a status, one of each name: an operation's own stand before the general ones."""
    by_name: dict[str, _Example] = {}
    for entry in _EXAMPLES:
        if entry.refusal.status is status and (not entry.operations or operation in entry.operations):
            by_name.setdefault(entry.name, entry)
    return list(by_name.values())


def _sentence(refusal: Refusal) -> str:
    """Return the first sentence of a refusal's docstring."""
    return (type(refusal).__doc__ or "").strip().partition("\n")[0]
