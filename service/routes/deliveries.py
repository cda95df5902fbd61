"""`/jobs/{job_id}/deliveries`: what was sent to the webhook and result URLs of a job, and sending it once more."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from jobs import redis_keys
from jobs.deliveries import Delivery, DeliveryKind, DeliveryState, Outbox, webhook_id
from jobs.hooks import Hooks
from service.authentication import AuthenticatedCaller
from service.routes.dependencies import CurrentDesk, JobId, problem_responses
from service.webhooks.refusals import DeliveryHeld, NoSuchDelivery

router = APIRouter(tags=["jobs"])


class AttemptBody(BaseModel):
    """One try: the receiver's status, or `code` and `error` where there is none or it is no success."""

    at: datetime
    status: int | None
    code: str | None
    error: str | None
    seconds: float


class DeliveryBody(BaseModel):
    """One delivery.

    `held`: it waits for the delivery of the result.  `waiting`: it is sent at `next_at`, or being sent.  `failed`: all
    tries failed.  `disabled`: the receiver answered 410 Gone.
    """

    number: int
    kind: DeliveryKind
    event: str
    webhook_id: str | None = Field(description="The header `webhook-id`, the same with each try; null for a result.")
    origin: str = Field(description="Scheme, host and port of the URL. The rest of it may be a credential.")
    status: DeliveryState
    created_at: datetime
    next_at: datetime | None
    tries: int
    attempts: list[AttemptBody]


class DeliveryList(BaseModel):
    """The deliveries of a job in the order in which they are sent; empty until the job has ended."""

    deliveries: list[DeliveryBody]


@router.get("/jobs/{job_id}/deliveries", responses=problem_responses(401, 404, 410, 422, 503))
async def deliveries(job_id: JobId, desk: CurrentDesk, caller: AuthenticatedCaller) -> DeliveryList:
    """List what was sent to the job's `webhook_url` and `result_url`, with every try."""
    job = (await desk.find(job_id, caller)).spec.id
    outbox = Outbox(desk.queue.part(job).redis)
    hooks = await outbox.hooks(job)
    return DeliveryList(deliveries=[_body(job, delivery, hooks) for delivery in await outbox.of_job(job)])


@router.post(
    "/jobs/{job_id}/deliveries/{number}/redeliver",
    status_code=202,
    responses=problem_responses(401, 404, 409, 410, 422, 503),
)
async def redeliver(
    job_id: JobId,
    number: Annotated[int, Path(ge=1, le=redis_keys.MAX_DELIVERIES_PER_JOB, description="The delivery's number.")],
    desk: CurrentDesk,
    caller: AuthenticatedCaller,
) -> DeliveryBody:
    """Send a delivery once more, now, with all its tries.

    A webhook keeps its `webhook-id`.  It is sent to a disabled URL, too, and enables it if the receiver accepts it.
    """
    job = (await desk.find(job_id, caller)).spec.id
    outbox = Outbox(desk.queue.part(job).redis)
    answer = await outbox.redeliver(job, number)
    if not answer:
        raise NoSuchDelivery(f"job {job} has no delivery {number}", job_id=job)
    if answer == "held":
        raise DeliveryHeld("the webhook follows the delivery of the result", job_id=job)
    hooks = await outbox.hooks(job)
    found = [delivery for delivery in await outbox.of_job(job) if delivery.number == number]
    if not found:
        raise NoSuchDelivery(f"job {job} has no delivery {number}", job_id=job)
    return _body(job, found[0], hooks)


def _body(job: str, delivery: Delivery, hooks: Hooks) -> DeliveryBody:
    group = hooks.webhook_group if delivery.kind == "webhook" else hooks.result_group
    return DeliveryBody(
        number=delivery.number,
        kind=delivery.kind,
        event=delivery.event,
        webhook_id=webhook_id(job, delivery.number) if delivery.kind == "webhook" else None,
        origin=(group or "").partition(" ")[2],
        status=delivery.state,
        created_at=_datetime(delivery.created_ms),
        next_at=None if delivery.due_ms is None else _datetime(delivery.due_ms),
        tries=delivery.tries,
        attempts=[
            AttemptBody(at=_datetime(attempt.at_ms), **attempt.model_dump(exclude={"at_ms"}))
            for attempt in delivery.attempts
        ],
    )


def _datetime(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
