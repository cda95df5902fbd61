"""When deliveries are tried again: 8 tries within 24 hours, whatever the jitter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.schedule import (
    JITTER,
    LONGEST_RETRY_AFTER_S,
    RESULT_PAUSES_S,
    WEBHOOK_PAUSES_S,
    may_pass,
    next_pause_s,
)


def test_a_webhook_has_eight_tries_within_a_day_even_with_the_longest_jitter():
    assert len(WEBHOOK_PAUSES_S) == 7 and sum(WEBHOOK_PAUSES_S) > 20 * 3600
    assert sum(WEBHOOK_PAUSES_S) * (1 + JITTER) < 24 * 3600


def test_a_result_is_given_up_within_ten_minutes_because_the_webhook_waits_for_it():
    assert sum(RESULT_PAUSES_S) * (1 + JITTER) < 600


@given(st.sampled_from(["webhook", "result"]), st.integers(1, 12), st.none() | st.text(max_size=12), st.floats(-1, 1))
def test_a_pause_has_the_jitter_and_no_header_makes_it_shorter_or_endless(kind, tries, retry_after, at):
    pauses = WEBHOOK_PAUSES_S if kind == "webhook" else RESULT_PAUSES_S
    pause_s = next_pause_s(kind, tries, retry_after, lambda low, high: (low + high) / 2 + at * (high - low) / 2)
    if tries > len(pauses):
        assert pause_s is None
    else:
        low, high = pauses[tries - 1] * (1 - JITTER), pauses[tries - 1] * (1 + JITTER)
        assert low - 1e-6 <= pause_s <= max(high, LONGEST_RETRY_AFTER_S) + 1e-6


@pytest.mark.parametrize(("header", "expected_s"), [
    ("60", 60), ("1", 5), ("99999", 3600), ("soon", 5), ("-5", 5), ("٣٠٠", 5), ("", 5), ("1e9", 5),
])  # fmt: skip
def test_retry_after_makes_the_first_pause_longer_up_to_an_hour(header, expected_s):
    assert next_pause_s("webhook", 1, header, lambda low, high: (low + high) / 2) == expected_s


def test_jitter_spreads_the_tries():
    assert len({next_pause_s("webhook", 2, None) for _ in range(20)}) > 10


@pytest.mark.parametrize(("kind", "status", "again"), [
    ("webhook", 500, True), ("webhook", 400, True), ("webhook", 404, True), ("webhook", 410, False),
    ("result", 500, True), ("result", 503, True), ("result", 429, True), ("result", 408, True), ("result", 403, False),
    ("result", 404, False), ("result", 410, False),
])  # fmt: skip
def test_which_answers_are_tried_again(kind, status, again):
    assert may_pass(kind, status) is again
