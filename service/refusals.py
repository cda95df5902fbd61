"""Everything that the service refuses, one class each; `status` and `code` are API, problems.py writes them.

ServiceError
├── UnsafeBinding            it will not start: open to the network without a key
└── Refusal                  an answer to one request
    ├── Unauthorized         401 unauthorized
    ├── NotFound             404 not-found
    │   ├── NoSuchJob            no-such-job
    │   └── NoSuchStep           no-such-step
    ├── MethodNotAllowed     405 method-not-allowed
    ├── NotAcceptable        406 not-acceptable
    ├── NotFinished          409 not-finished
    ├── JobCanceled          409 canceled
    ├── Gone                 410 gone
    ├── TooLarge             413 too-large
    │   └── TooManyPixels        too-many-pixels
    ├── UnsupportedBody      415 unsupported-body
    ├── NotAnImage           415 not-an-image
    │   └── UnsupportedFormat    unsupported-format
    ├── InvalidRequest       422 invalid-request
    ├── JobFailed            500 job-failed (422 where the image or the controls are to blame)
    ├── Crashed              500 internal
    ├── TooManyWaits         429 too-many-waits
    ├── QueueIsFull          503 queue-full
    ├── RedisUnavailable     503 redis-unavailable
    ├── StoreUnavailable     503 store-unavailable
    └── WaitOver             504 wait-over
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar


class ServiceError(Exception):
    """The root of this tree."""


class UnsafeBinding(ServiceError):
    """The service would be open to the network without a key."""


class Refusal(ServiceError):
    """One request is refused: `detail` says why, `hint` what to do next, `more` are further members of the problem."""

    status: HTTPStatus = HTTPStatus.BAD_REQUEST
    code: ClassVar[str] = "refused"
    hint: str = ""

    def __init__(
        self, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None, **more: object
    ) -> None:
        super().__init__(detail)
        self.detail, self.more = detail, more
        self.hint = hint or self.hint
        self.headers = dict(headers or {})


class Unauthorized(Refusal):
    """No key, or none that is known."""

    status, code = HTTPStatus.UNAUTHORIZED, "unauthorized"
    hint = "send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"


class NotFound(Refusal):
    """There is no such thing."""

    status, code = HTTPStatus.NOT_FOUND, "not-found"
    hint = "/docs lists every route"


class NoSuchJob(NotFound):
    """No job has this id, or it is another key's."""

    code = "no-such-job"
    hint = "GET /jobs lists the jobs that you can see"


class NoSuchStep(NotFound):
    """The job has no picture of this pass."""

    code = "no-such-step"
    hint = "the job's passes name the pictures that there are"


class MethodNotAllowed(Refusal):
    """The route is there, the method is not."""

    status, code = HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed"
    hint = "the Allow header names the methods"


class NotAcceptable(Refusal):
    """Accept names nothing that can be answered."""

    status, code = HTTPStatus.NOT_ACCEPTABLE, "not-acceptable"
    hint = "accept application/json, or image/* with jpeg, png, webp, tiff or avif"


class NotFinished(Refusal):
    """The result of a job that is not over."""

    status, code = HTTPStatus.CONFLICT, "not-finished"
    hint = "wait for it with GET /jobs/{id}?wait=60"


class JobCanceled(Refusal):
    """The job was canceled, so there is no picture."""

    status, code = HTTPStatus.CONFLICT, "canceled"
    hint = "submit it again"


class Gone(Refusal):
    """It was here, and has been forgotten."""

    status, code = HTTPStatus.GONE, "gone"
    hint = "submit the image again; fetch results while they are kept"


class TooLarge(Refusal):
    """More bytes than are taken."""

    status, code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large"
    hint = "scale the image down or compress it; GET /limits says how much is taken"


class TooManyPixels(TooLarge):
    """More megapixels than are taken."""

    code = "too-many-pixels"
    hint = "scale the image down; GET /limits says how many megapixels are taken"


class UnsupportedBody(Refusal):
    """The request's body is none of the three forms."""

    status, code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-body"
    hint = "send multipart/form-data with a file 'image', the image itself as image/*, or JSON with image_base64"


class NotAnImage(Refusal):
    """The bytes are no image that can be read."""

    status, code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-an-image"
    hint = "send a JPEG, PNG, WebP, TIFF or AVIF file"


class UnsupportedFormat(NotAnImage):
    """An image, in a format that is not read."""

    code = "unsupported-format"


class InvalidRequest(Refusal):
    """A field is unknown, missing or out of its range; `errors` names each."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request"
    hint = "/docs lists every field with its range"


class JobFailed(Refusal):
    """The picture was asked for, and its job failed; `error` is the job's."""

    status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "job-failed"


class Crashed(Refusal):
    """An error that nobody thought of; the log has it under the request's id."""

    status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "internal"
    hint = "report it with the request_id"


class TooManyWaits(Refusal):
    """This caller holds too many long polls and streams open."""

    status, code = HTTPStatus.TOO_MANY_REQUESTS, "too-many-waits"
    hint = "poll without wait, or close some event streams"


class QueueIsFull(Refusal):
    """As many jobs are in line as may be; Retry-After is measured."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "queue-full"
    hint = "retry after the seconds in Retry-After"


class RedisUnavailable(Refusal):
    """Redis does not answer; nothing has been lost."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "redis-unavailable"
    hint = "retry in a moment"


class StoreUnavailable(Refusal):
    """The blob store does not answer."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable"
    hint = "retry in a moment"


class WaitOver(Refusal):
    """The picture was not ready in time; its job goes on."""

    status, code = HTTPStatus.GATEWAY_TIMEOUT, "wait-over"
    hint = "the job goes on: fetch result_url when it is done"
