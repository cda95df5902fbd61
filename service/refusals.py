"""Every refusal of the service, one class each.  `status` and `code` are public API; problems.py writes the response.

ServiceError
├── UnsafeBinding            the service does not start: it would be open to the network without a key
└── Refusal                  the response to one request
    ├── MalformedRequest     400 malformed-request
    ├── BadIdempotencyKey    400 bad-idempotency-key
    ├── Unauthorized         401 unauthorized
    │   └── KeyExpired           key-expired
    ├── Forbidden            403 forbidden
    ├── ImageUrlOff          403 image-url-off
    ├── CrossOrigin          403 cross-origin
    ├── NotFound             404 not-found
    │   ├── NoSuchJob            no-such-job
    │   ├── NoSuchUpload         no-such-upload
    │   ├── NoSuchBatch          no-such-batch
    │   ├── NoSuchWorker         no-such-worker
    │   ├── NoSuchLane           no-such-lane
    │   ├── NoSuchShard          no-such-shard
    │   ├── NoSuchPass           no-such-step
    │   ├── NoSuchVariant        no-such-variant
    │   └── NoSuchDelivery       no-such-delivery
    ├── MethodNotAllowed     405 method-not-allowed
    ├── NotAcceptable        406 not-acceptable
    ├── RequestTimedOut      408 request-timeout
    ├── NotFinished          409 not-finished
    ├── UploadsUnavailable   409 uploads-unavailable
    ├── UploadNotReceived    409 upload-not-received
    ├── JobCanceled          409 canceled
    ├── DeliveryHeld         409 delivery-held
    ├── Gone                 410 gone
    ├── TooLarge             413 too-large
    │   ├── TooManyPixels        too-many-pixels
    │   └── BatchTooLarge        batch-too-large
    ├── UriTooLong           414 uri-too-long
    ├── UnsupportedBody      415 unsupported-body
    ├── UnsupportedEncoding  415 unsupported-encoding
    ├── NotAnImage           415 not-an-image
    │   └── UnsupportedFormat    unsupported-format
    ├── RangeNotSatisfiable  416 range-not-satisfiable
    ├── UnknownHost          421 unknown-host
    ├── InvalidRequest       422 invalid-request
    │   └── PromptNotUnderstood  prompt-not-understood
    ├── IdempotencyKeyReused 422 idempotency-key-reused
    ├── HeadersTooLarge      431 headers-too-large
    ├── JobFailed            500 job-failed (410, 422 or 504 for some failures: failed_jobs.py)
    ├── InternalError        500 internal
    ├── UrlNotAllowed        422 url-not-allowed
    ├── UrlUnreachable       424 url-unreachable
    ├── UrlTooSlow           424 url-too-slow
    ├── UrlRedirects         424 url-redirects
    ├── UrlBadAnswer         424 url-bad-answer
    ├── UrlBodyTooLarge      413 url-too-large
    ├── WebhookDisabled      422 webhook-disabled
    ├── RateLimited          429 rate-limited
    ├── TooManyJobs          429 quota-jobs
    ├── TooManyMegapixels    429 quota-megapixels
    ├── TooManyWaits         429 too-many-waits
    ├── QueueIsFull          503 queue-full
    ├── TooManyConversions   503 too-many-conversions
    ├── ConversionFailed     503 conversion-failed
    ├── NewerJob             503 newer-job
    ├── RedisUnavailable     503 redis-unavailable
    ├── StoreUnavailable     503 store-unavailable
    ├── WaitOver             504 wait-over
    └── StorageFull          507 storage-full

429 means that the caller's own quota of requests is used up, 503 that the whole service is busy or a part of it is
away, 507 that there is no room for another image (docs/decisions/0017).  request_refusals.py has those of a request's
form and origin: 400, 403, 408, 414, 421 and 431; upload_refusals.py those of an image: 413 and 415;
limits/refusals.py those of a quota: 429; idempotency/refusals.py those of an Idempotency-Key; outgoing/refusals.py
those of a caller's URL; webhooks/refusals.py and batches/refusals.py those of webhooks and batches; image_fetch.py
and direct_uploads.py those of an image that is not in the request; busy_refusals.py those of a busy service;
ranges.py and transcode.py have their own.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar


class ServiceError(Exception):
    """The root of this tree."""


class UnsafeBinding(ServiceError):
    """The service would be open to the network without a key."""


class Refusal(ServiceError):
    """Refuses one request: `detail` says why, `hint` what to do next; `extra` are further members of the problem."""

    status: HTTPStatus = HTTPStatus.BAD_REQUEST
    code: ClassVar[str] = "refused"
    hint: str = ""

    def __init__(
        self, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None, **extra: object
    ) -> None:
        super().__init__(detail)
        self.detail, self.extra = detail, extra
        self.hint = hint or self.hint
        self.headers = dict(headers or {})


class Unauthorized(Refusal):
    """The API key is missing or unknown."""

    status, code = HTTPStatus.UNAUTHORIZED, "unauthorized"
    hint = "send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"


class KeyExpired(Unauthorized):
    """The API key has expired."""

    code = "key-expired"
    hint = "ask the operator for a new key; operators: undegrade keys update KEY_ID --expires 90d"


class Forbidden(Refusal):
    """The API key may not do this; `scope` is the scope that it needs."""

    status, code = HTTPStatus.FORBIDDEN, "forbidden"
    hint = "use a key with the scope that `scope` names: undegrade keys create NAME --scope SCOPE"


class NotFound(Refusal):
    """The path does not exist."""

    status, code = HTTPStatus.NOT_FOUND, "not-found"
    hint = "/docs lists every route"


class NoSuchJob(NotFound):
    """The job does not exist, or belongs to another key."""

    code = "no-such-job"
    hint = "GET /jobs lists the jobs that you can see"


class NoSuchWorker(NotFound):
    """No worker and no host has this name."""

    code = "no-such-worker"
    hint = "GET /workers lists the workers"


class NoSuchLane(NotFound):
    """There is no lane of this name."""

    code = "no-such-lane"
    hint = "GET /queue lists the lanes"


class NoSuchShard(NotFound):
    """The id names a Redis server that this service does not have."""

    code = "no-such-shard"
    hint = "check the id; operators: UNDEGRADE_REDIS_URL names the shards, and one of them was removed"


class NoSuchPass(NotFound):
    """The job has no image of this pass."""

    code = "no-such-step"  # older than the word "pass"; codes are stable
    hint = "the job's passes contain the URLs of the existing images"


class NoSuchVariant(NotFound):
    """The job has fewer results."""

    code = "no-such-variant"
    hint = "the job's variants contain the URLs of its results"


class MethodNotAllowed(Refusal):
    """The route exists, but not with this method."""

    status, code = HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed"
    hint = "the Allow header lists the methods"


class NotAcceptable(Refusal):
    """Accept contains no type that the service can return."""

    status, code = HTTPStatus.NOT_ACCEPTABLE, "not-acceptable"
    hint = "accept application/json, or image/* with jpeg, png, webp, tiff or avif"


class NotFinished(Refusal):
    """The job has no result yet."""

    status, code = HTTPStatus.CONFLICT, "not-finished"
    hint = "wait for it with GET /jobs/{id}?wait=60"


class JobCanceled(Refusal):
    """The job was canceled, so it has no result."""

    status, code = HTTPStatus.CONFLICT, "canceled"
    hint = "submit the image again"


class Gone(Refusal):
    """The job or the image existed, and was deleted or has expired."""

    status, code = HTTPStatus.GONE, "gone"
    hint = "submit the image again; fetch results before they expire"


class InvalidRequest(Refusal):
    """A field is unknown, missing or out of range; `errors` contains each."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request"
    hint = "/docs lists every field with its range"


class PromptNotUnderstood(InvalidRequest):
    """The prompt asks for what the bundle cannot do; `can` lists its repairs, `cannot` those that were asked for."""

    code = "prompt-not-understood"
    hint = "name one of `can`, or send best_effort=true: then the most similar repair is done"


class JobFailed(Refusal):
    """The job failed, so it has no result; `error` is the job's own error."""

    status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "job-failed"
    hint = "`error` of the job says what happened; correct it and submit the image again"


class InternalError(Refusal):
    """An unexpected error; the log contains it under the request id."""

    status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "internal"
    hint = "report it with the request_id"
