"""The refusals of a service that is busy, full, or without Redis or its store: the request was right."""

from http import HTTPStatus

from service.refusals import Refusal


class QueueIsFull(Refusal):
    """The queue has reached its limit; Retry-After is measured."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "queue-full"
    hint = "retry after the seconds in Retry-After"


class NewerJob(Refusal):
    """A later version of undegrade has written the job, and this process cannot read it."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "newer-job"
    hint = "retry: an API process of that version answers; operators: finish the upgrade of the API"


class RedisUnavailable(Refusal):
    """Redis does not answer; queued jobs are not lost."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "redis-unavailable"
    hint = "retry after the seconds in Retry-After"


class StoreUnavailable(Refusal):
    """The blob store does not answer."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable"
    hint = "retry after the seconds in Retry-After"


class WaitOver(Refusal):
    """The image was not ready in time; the job continues."""

    status, code = HTTPStatus.GATEWAY_TIMEOUT, "wait-over"
    hint = "the job continues: fetch result_url when it has succeeded"


class StorageFull(Refusal):
    """There is no room for the image: memory, disk, or a limit on stored bytes."""

    status, code = HTTPStatus.INSUFFICIENT_STORAGE, "storage-full"
    hint = "delete finished jobs with DELETE /jobs/{id}, or retry later: images are deleted after `keep_s` of /limits"
