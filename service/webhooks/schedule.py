"""When a delivery is tried again, and what an answer means for it."""

import random
from collections.abc import Callable

from jobs.deliveries import DeliveryKind

WEBHOOK_PAUSES_S = (5.0, 300.0, 1800.0, 7200.0, 14_400.0, 21_600.0, 28_800.0)
"""Between the 8 tries of a webhook: 20 h 35 min in all, and with the longest jitter less than 24 h."""
RESULT_PAUSES_S = (2.0, 10.0, 60.0, 300.0)
"""Between the 5 tries of a result, about 6 min: the webhook waits for it, and presigned URLs expire."""
JITTER = 0.15
"""A pause is longer or shorter by up to this share, so that many jobs do not return to a server at once."""
LONGEST_RETRY_AFTER_S = 3600.0
GONE = 410
_MAY_PASS = {408, 425, 429}


def pauses_of(kind: DeliveryKind) -> tuple[float, ...]:
    """Returns the seconds between the tries of a delivery."""
    return WEBHOOK_PAUSES_S if kind == "webhook" else RESULT_PAUSES_S


def next_pause_s(
    kind: DeliveryKind, tries: int, retry_after: str | None, uniform: Callable[[float, float], float] = random.uniform
) -> float | None:
    """Returns the seconds until the next try; None after the last one.

    Args:
        tries: that have been made, at least 1.
        retry_after: the receiver's header; it can make a pause longer.
    """
    pauses = pauses_of(kind)
    if tries > len(pauses):
        return None
    pause_s = pauses[tries - 1] * uniform(1 - JITTER, 1 + JITTER)
    asked_s = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else 0.0
    return max(pause_s, min(asked_s, LONGEST_RETRY_AFTER_S))


def may_pass(kind: DeliveryKind, status: int) -> bool:
    """Returns whether a later try may succeed after this status.

    A webhook is tried again after every error but 410, as Standard Webhooks says.  A presigned URL that is refused
    with 4xx stays refused: its signature is wrong or has expired.
    """
    if kind == "webhook":
        return status != GONE
    return status >= 500 or status in _MAY_PASS
