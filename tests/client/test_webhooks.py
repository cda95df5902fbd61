"""Signatures of webhooks, made by the `standardwebhooks` package, which is not ours."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undegrade_client import SignatureError
from undegrade_client.webhooks import TOLERANCE_S, verify

standardwebhooks = pytest.importorskip("standardwebhooks", reason="pip install standardwebhooks")
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
NOW_S = 1_800_000_000.0


def signed(payload, secret=SECRET, message="msg_1", at_s=NOW_S):
    signature = standardwebhooks.Webhook(secret).sign(message, datetime.fromtimestamp(at_s, UTC), payload)
    return {"Webhook-Id": message, "Webhook-Timestamp": str(int(at_s)), "Webhook-Signature": signature}


def check(payload, headers, secret=SECRET, now_s=NOW_S):
    return verify(payload, headers, secret, now_s=lambda: now_s)


JSON = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans()), max_size=4)


@given(JSON, st.binary(min_size=1, max_size=64), st.sampled_from(["whsec_", ""]))
def test_what_the_package_signs_is_accepted_and_any_other_payload_is_not(content, key, prefix):
    payload, secret = json.dumps(content), prefix + base64.b64encode(key).decode()
    headers = signed(payload, secret)
    assert check(payload, headers, secret) == check(payload.encode(), headers, secret) == content
    for wrong in (payload + " ", payload[:-1] + ',"a":1}'):
        with pytest.raises(SignatureError):
            check(wrong, headers, secret)


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
@pytest.mark.parametrize("value", [None, "", "x", "9" * 30, "v1,", "v1a,AAAA", "-1", "１"])
def test_a_header_that_is_missing_or_changed_is_refused(name, value):
    headers = {key: entry for key, entry in signed("{}").items() if key != name}
    with pytest.raises(SignatureError):
        check("{}", headers if value is None else {**headers, name: value})


def test_while_secrets_rotate_one_of_two_signatures_is_enough():
    other = "whsec_" + base64.b64encode(b"o" * 24).decode()
    new, old = signed("{}"), signed("{}", other)
    both = {**new, "Webhook-Signature": f"{old['Webhook-Signature']} {new['Webhook-Signature']}"}
    assert check("{}", both) == check("{}", both, other) == {}
    with pytest.raises(SignatureError, match="this secret"):
        check("{}", new, other)


@pytest.mark.parametrize(("age_s", "accepted"), [
    (TOLERANCE_S, True), (-TOLERANCE_S, True), (TOLERANCE_S + 1, False), (-TOLERANCE_S - 1, False),
])  # fmt: skip
def test_an_old_webhook_is_refused(age_s, accepted):
    headers = signed("{}", at_s=NOW_S - age_s)
    if accepted:
        assert check("{}", headers) == {}
    else:
        with pytest.raises(SignatureError, match="five minutes"):
            check("{}", headers)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "no base64"])
def test_a_secret_that_is_none_verifies_nothing(secret):
    with pytest.raises(SignatureError, match="secret"):
        check("{}", signed("{}"), secret)
