"""The fields of a request that say where to tell its job's end."""

from typing import Any

from pydantic import BaseModel, Field

from jobs.hooks import WEBHOOK_EVENTS, WebhookEvent
from service.outgoing.host_rules import MAX_URL_LENGTH

EVENTS_FIELD = "webhook_events"
HOOK_FIELDS = ("webhook_url", EVENTS_FIELD, "result_url")


class HookFields(BaseModel):
    """The fields of `POST /restore` and `POST /detect`."""

    webhook_url: str | None = Field(
        default=None, max_length=MAX_URL_LENGTH,
        description="An https URL that is told of the job's end. The operator allows the host.",
    )  # fmt: skip
    webhook_events: tuple[WebhookEvent, ...] = Field(
        default=(), max_length=len(WEBHOOK_EVENTS),
        description="The ends that the webhook URL is told of. Default: all.",
    )  # fmt: skip


RESULT_URL: Any = (
    str | None,
    Field(
        default=None, max_length=MAX_URL_LENGTH,
        description="An https URL that the restored image is sent to by PUT, such as a presigned URL of a bucket.",
    ),
)  # fmt: skip
"""The definition of the field `result_url`, which only `POST /restore` has."""
