"""Where a caller wants to hear of a job's end: the webhook URL with its events, and the URL for the result.

It is a field of the job's Redis hash beside the spec, not in it: workers need not know it, and the URLs, which may be
credentials, are read by nobody but the webhook process.
"""

from typing import Literal, get_args

from pydantic import ConfigDict

from jobs.stored_model import StoredModel

WebhookEvent = Literal["completed", "failed", "canceled", "expired"]
"""The last event of a job, as in its event stream."""
WEBHOOK_EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
NO_OWNER = "none"
"""The owner of jobs that were submitted without an API key."""


class Hooks(StoredModel):
    """The URLs of one job.

    Attributes:
        webhook_group, result_group: 'owner origin' of the URL, see `group_of`; deliveries of a group share a limit.
        events: for which ends a webhook is sent.
        path_prefix: the path under which a proxy serves the API, for the links of a payload.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    webhook_url: str | None = None
    webhook_group: str | None = None
    events: tuple[WebhookEvent, ...] = ()
    result_url: str | None = None
    result_group: str | None = None
    path_prefix: str = ""

    def dump(self) -> str:
        """Return JSON for the scripts; `events` is there even when it is empty, the other fields when they are set."""
        return self.model_dump_json(exclude_none=True)


def group_of(owner: str | None, origin: str) -> str:
    """Returns the name of a group of deliveries: one API key and one server."""
    return f"{owner or NO_OWNER} {origin}"
