"""The exceptions of the client, in one tree.

UndegradeError
├── ConfigurationError          the URL of the server or the key cannot be used
├── InputError                  the argument is no image that can be sent
├── ConnectionFailed            the server was not reached within the deadline
├── DeadlineExceeded            the job has not ended within the deadline; it continues on the server
├── UnexpectedAnswer            the answer is none of undegrade's, or its bytes are damaged
├── SignatureError              a webhook is not signed with this secret, or is too old
└── ApiError                    the server refused: code, status, detail, hint, request_id, job_id
    ├── AuthenticationError     the key is missing, unknown or expired
    ├── PermissionDenied        the key may not do this
    ├── InvalidRequest          an option or a field is unknown or out of range
    │   ├── PromptNotUnderstood
    │   └── IdempotencyConflict
    ├── InvalidImage            the server does not take this image
    │   └── ImageTooLarge
    ├── NotFound                no such job, pass, upload, ...
    ├── NotFinished             the job has no result yet
    ├── Canceled                the job was canceled
    ├── Expired                 the job or its image is gone
    ├── QuotaError              this key's own limit is used up
    ├── ServerError             an error of the server
    │   └── ServerUnavailable   the server is busy, or a part of it is away: try later
    └── JobFailed               the job itself failed
        ├── DamagedImage        (also InvalidImage)
        ├── UnsuitableOptions   (also InvalidRequest)
        ├── JobExpired          (also Expired)
        └── JobUnserved         (also ServerUnavailable)

`codes.py` maps every code of the service to one of these classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class UndegradeError(Exception):
    """The root of all exceptions of this package.

    `source` is the image of `map` that it belongs to, as it was given.
    """

    source: object = None


class ConfigurationError(UndegradeError, ValueError):
    """The URL of the server, the key or a setting of the client cannot be used."""


class InputError(UndegradeError, ValueError):
    """The argument is no image that can be sent: its type is unknown, or its file cannot be read."""


class ConnectionFailed(UndegradeError, ConnectionError):
    """The server could not be reached, or broke the connection, until the deadline.

    `job_id` is the job, where the server has named it before.
    """

    def __init__(self, message: str, job_id: str | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id


class DeadlineExceeded(UndegradeError, TimeoutError):
    """The job has not ended within the deadline of the call.  It continues: `client.job(error.job_id)`."""

    def __init__(self, message: str, job_id: str | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id


class UnexpectedAnswer(UndegradeError):
    """The answer is none of undegrade's, or an image arrived damaged."""


class SignatureError(UndegradeError, ValueError):
    """A webhook is not signed with this secret, or its timestamp is too far from now."""


class ApiError(UndegradeError):
    """The server refused a request, or a job failed.

    Attributes:
        code: stable, such as "too-large"; docs/api-reference.md lists all.
        status: the HTTP status; 0 where a job failed, which is not the answer to a request.
        hint: what to do next.
        request_id: what the server's log has of the request.
        job_id: the job, where there is one.
        retry_after_s: seconds until another try makes sense, where the server says so.
        problem: the whole answer, with members of some codes only, such as `errors` of "invalid-request".
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        status: int = 0,
        hint: str = "",
        request_id: str = "",
        job_id: str | None = None,
        retry_after_s: float | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail, self.code, self.status, self.hint = detail, code, status, hint
        self.request_id, self.job_id, self.retry_after_s = request_id, job_id, retry_after_s
        self.problem: Mapping[str, Any] = problem or {}

    def __str__(self) -> str:
        """Return what is wrong, what to do next, and what names it to the server's operator."""
        text = f"{self.detail.rstrip('.')} ({self.code})"
        if self.hint:
            text += f". {self.hint[0].upper()}{self.hint[1:].rstrip('.')}"
        return f"{text} [request {self.request_id}]" if self.request_id else text

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what pickles it: exceptions travel between processes."""
        return _unpickled, (type(self), self.detail, dict(self.__dict__))


def _unpickled(kind: type[ApiError], detail: str, members: dict[str, Any]) -> ApiError:
    error = kind(detail, code=members["code"])
    error.__dict__.update(members)
    return error


class AuthenticationError(ApiError):
    """The API key is missing, unknown or expired."""


class PermissionDenied(ApiError):
    """The key, the address or the origin of the caller may not do this."""


class InvalidRequest(ApiError):
    """An option is unknown or out of range, or the request cannot be read; `errors` names each field."""

    @property
    def errors(self) -> list[dict[str, str]]:
        """The fields and their problems."""
        return list(self.problem.get("errors") or [])


class PromptNotUnderstood(InvalidRequest):
    """The prompt asks for what the bundle cannot do; `can` lists its repairs, `cannot` those that were asked for."""

    @property
    def can(self) -> list[str]:
        """The names of the degradations that the bundle repairs."""
        return list(self.problem.get("can") or [])

    @property
    def cannot(self) -> list[str]:
        """The names of the degradations in the prompt that it does not repair."""
        return list(self.problem.get("cannot") or [])


class IdempotencyConflict(InvalidRequest):
    """The Idempotency-Key was used for another request."""


class InvalidImage(ApiError):
    """The server does not take this image: it is none, damaged, or of a format that is not read."""


class ImageTooLarge(InvalidImage):
    """The image has too many bytes or pixels for this server; `client.limits()` returns the limits."""


class NotFound(ApiError):
    """The job, the pass or the route does not exist, or belongs to another key."""


class NotFinished(ApiError):
    """The job has no result yet."""


class Canceled(ApiError):
    """The job was canceled, by its owner or an operator."""


class Expired(ApiError):
    """The job or its image has expired."""


class QuotaError(ApiError):
    """A limit of this key is used up; `retry_after_s` says for how long."""


class ServerError(ApiError):
    """An error of the server; its operator finds it by `request_id`."""


class ServerUnavailable(ServerError):
    """The server is busy or full, or a part of it is away.  Another try later may succeed."""


class JobFailed(ApiError):
    """The server accepted the job, and the job failed; `code` is the job's own."""


class DamagedImage(JobFailed, InvalidImage):
    """The worker could not decode the image."""


class UnsuitableOptions(JobFailed, InvalidRequest):
    """The bundle cannot do what an option asks for."""


class JobExpired(JobFailed, Expired):
    """The job's own `deadline_s` passed, or its image expired before a worker read it."""


class JobUnserved(JobFailed, ServerUnavailable):
    """The job failed because a part of the service was away or full; a new job may succeed."""
