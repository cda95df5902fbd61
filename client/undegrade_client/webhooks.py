"""Checks that a webhook comes from the service, by the rules of Standard Webhooks (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from undegrade_client.errors import SignatureError

TOLERANCE_S = 300
PREFIX = "whsec_"


def verify(
    payload: bytes | str, headers: Mapping[str, str], secret: str, *, now_s: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Return the content of a webhook whose signature is right.

    Args:
        payload: the body as it arrived, byte for byte; JSON that was read and written again has other bytes.
        headers: of the request, in any case: webhook-id, webhook-timestamp, webhook-signature.
        secret: "whsec_" and the secret in base64.  While secrets rotate, a webhook has a signature for each.

    Raises:
        SignatureError: a header is missing, the signature is of another secret or content, or the webhook is more
            than five minutes old, as a recorded one that is sent again.
    """
    body = payload.encode() if isinstance(payload, str) else payload
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        message, timestamp, signatures = (lower[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as error:
        raise SignatureError(f"the header {error.args[0]} is missing, so this is no signed webhook.") from None
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now_s() - int(timestamp)) > TOLERANCE_S:
        raise SignatureError("webhook-timestamp is more than five minutes from now. Is this machine's clock right?")
    signed = f"{message}.{timestamp}.".encode() + body
    wanted = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest())
    versions = (entry.partition(",") for entry in signatures.split())
    if not any(name == "v1" and hmac.compare_digest(value.encode(), wanted) for name, _, value in versions):
        raise SignatureError("no signature of the webhook is of this secret and this payload.")
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise SignatureError("the webhook is signed, but it is not a JSON object.")
    return content


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise SignatureError("the secret is empty or not base64. It begins with whsec_; copy it whole.")
    return key
