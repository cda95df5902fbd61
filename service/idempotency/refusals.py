"""The refusals of a request with an `Idempotency-Key`."""

from http import HTTPStatus

from service.refusals import Refusal


class BadIdempotencyKey(Refusal):
    """The Idempotency-Key is not valid."""

    code = "bad-idempotency-key"
    hint = "send a new random key for each new request, such as a UUID: 1 to 255 characters of printable ASCII"


class IdempotencyKeyReused(Refusal):
    """The Idempotency-Key belongs to an earlier request that was a different one."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused"
    hint = "repeat a request exactly to have its first answer, or send a new key for a new request"
