"""Counts the requests that are refused because a quota of their caller is used up, for /metrics."""

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter

from jobs.metric_table import BY_NAME
from service.limits.refusals import QUOTA_OF
from service.problems import problem_response
from service.refusals import Refusal
from service.request_log import request_id


def count_refusals(app: FastAPI, registry: CollectorRegistry) -> None:
    """Answer each refusal over a quota as `problems` does, and count it by quota."""
    spec = BY_NAME["undegrade_quota_refusals_total"]
    total = Counter(spec.family, spec.help, spec.labels, registry=registry)
    for quota in QUOTA_OF.values():
        total.labels(quota=quota)  # from the start: an alert on a rate needs the 0

    async def refused(request: Request, error: Refusal) -> Response:
        total.labels(quota=QUOTA_OF[type(error)]).inc()
        return problem_response(error, request_id(request.scope))

    for refusal in QUOTA_OF:
        app.exception_handler(refusal)(refused)
