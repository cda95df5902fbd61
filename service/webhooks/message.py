"""The message of a webhook: a thin payload, signed as Standard Webhooks says.

Thin: it names the job, its state and where to read more.  It has neither a prompt nor an image nor a URL with
credentials, because receivers log what they get.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from jobs.deliveries import Delivery, DueDelivery
from jobs.state import State


def payload(due: DueDelivery, deliveries: Sequence[Delivery] = ()) -> bytes:
    """Return the body.

    Args:
        deliveries: all of the job, for what became of the result's.
    """
    job = f"{due.hooks.path_prefix}/jobs/{due.job}"
    links = {"job": job, "deliveries": f"{job}/deliveries"}
    if due.state is State.SUCCEEDED and due.job_kind == "restore":
        links["result"] = f"{job}/result"
    data: dict[str, object] = {"id": due.job, "kind": due.job_kind, "status": due.state.value, "links": links}
    result = [delivery.state for delivery in deliveries if delivery.kind == "result"]
    if result:
        data["result_delivery"] = result[0]
    ended = datetime.fromtimestamp(due.ended_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": f"job.{due.event}", "timestamp": ended, "data": data}).encode()


def signed_headers(webhook_id: str, now_s: float, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of one try: one signature for each secret."""
    at = datetime.fromtimestamp(int(now_s), UTC)
    signatures = [Webhook(secret).sign(webhook_id, at, body.decode()) for secret in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now_s)),
        "webhook-signature": " ".join(signatures),
    }
