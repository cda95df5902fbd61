"""Payload and signature, compared with the published package and with a computation of our own of the standard."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from jobs.deliveries import Delivery, DueDelivery
from jobs.hooks import Hooks
from jobs.record import Outcome
from jobs.state import State
from service.webhooks.message import payload, signed_headers

JOB = "0" * 31 + "1"
SECRETS = ["whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]


def due(state=State.SUCCEEDED, **fields):
    values = {
        "job": JOB, "number": 1, "group": "key https://example.com", "kind": "webhook", "event": "completed",
        "tries": 0,
        "again": False, "owner": "key", "job_kind": "restore", "state": state, "ended_ms": 1_795_754_709_591,
        "hooks": Hooks(webhook_url="https://example.com/token"), "outcome": Outcome(), **fields,
    }  # fmt: skip
    return DueDelivery(**values)


def independent_signature(secret, webhook_id, timestamp, body):
    """By the text of the standard: HMAC-SHA256 of `id.timestamp.body` with the decoded secret, in base64."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@given(st.sampled_from(State), st.text(max_size=20))
def test_both_secrets_verify_a_message_and_a_third_does_not(state, prefix):
    body = payload(due(state, hooks=Hooks(path_prefix=prefix)))
    headers = signed_headers("msg_1", time.time(), body, SECRETS)
    for secret in SECRETS:
        assert Webhook(secret).verify(body, headers)["data"]["id"] == JOB
    timestamp = headers["webhook-timestamp"]
    expected = [independent_signature(secret, "msg_1", timestamp, body) for secret in SECRETS]
    assert headers["webhook-signature"].split(" ") == expected
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"3" * 32).decode()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[0]).verify(body + b" ", headers)


def test_a_replay_after_five_minutes_is_refused():
    body = payload(due())
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRETS[0]).verify(body, signed_headers("msg_1", time.time() - 301, body, SECRETS))


def test_the_payload_is_thin():
    body = json.loads(payload(due(hooks=Hooks(webhook_url="https://example.com/token", path_prefix="/ai"))))
    assert body == {
        "type": "job.completed",
        "timestamp": "2026-11-27T04:45:09.591Z",
        "data": {
            "id": JOB, "kind": "restore", "status": "succeeded",
            "links": {
                "job": f"/ai/jobs/{JOB}", "deliveries": f"/ai/jobs/{JOB}/deliveries",
                "result": f"/ai/jobs/{JOB}/result",
            },
        },
    }  # fmt: skip


@pytest.mark.parametrize("fields", [{"state": State.FAILED}, {"job_kind": "detect"}])
def test_only_a_restored_image_has_a_link(fields):
    assert "result" not in json.loads(payload(due(**fields)))["data"]["links"]


def test_the_payload_tells_what_became_of_the_results_delivery():
    result = Delivery(
        number=1, kind="result", event="completed", state="failed", tries=1, created_ms=1, due_ms=None
    )  # fmt: skip
    assert json.loads(payload(due(number=2), [result]))["data"]["result_delivery"] == "failed"
