"""The refusals of batches."""

from http import HTTPStatus

from service.refusals import NotFound
from service.upload_refusals import TooLarge


class NoSuchBatch(NotFound):
    """The batch does not exist, or belongs to another key."""

    code = "no-such-batch"
    hint = "POST /batches answers with the id of a batch; it is kept as long as its jobs"


class BatchTooLarge(TooLarge):
    """The batch has more images or bytes than the limit."""

    status, code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "batch-too-large"
    hint = "send several smaller batches; GET /limits returns the limits"
