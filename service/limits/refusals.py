"""The refusals of a request over a quota of its caller."""

from http import HTTPStatus

from service.refusals import Refusal


class RateLimited(Refusal):
    """This caller sends too many requests."""

    status, code = HTTPStatus.TOO_MANY_REQUESTS, "rate-limited"
    hint = "retry after the seconds in Retry-After, and send fewer requests per second"


class TooManyJobs(Refusal):
    """This caller has as many jobs in line as its quota allows."""

    status, code = HTTPStatus.TOO_MANY_REQUESTS, "quota-jobs"
    hint = "wait until some of your jobs have ended, or cancel some: GET /jobs lists them"


class TooManyMegapixels(Refusal):
    """This caller has submitted as many megapixels today as its quota allows."""

    status, code = HTTPStatus.TOO_MANY_REQUESTS, "quota-megapixels"
    hint = "the quota starts again at 00:00 UTC; ask the operator for a larger one"


class TooManyWaits(Refusal):
    """This caller has used up its quota of long polls and event streams."""

    status, code = HTTPStatus.TOO_MANY_REQUESTS, "too-many-waits"
    hint = "poll without wait, or close some event streams"


QUOTA_OF: dict[type[Refusal], str] = {
    RateLimited: "requests",
    TooManyJobs: "jobs",
    TooManyMegapixels: "megapixels",
    TooManyWaits: "waits",
}
"""The quota that each of them is about, as in the RateLimit headers."""
