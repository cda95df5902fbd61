"""Reads the options of `undegrade keys create` and `update`: scopes, quotas and expiry."""

import re
import time
from collections.abc import Sequence

from jobs.api_keys import SCOPES, Scope
from jobs.quotas import FORMS, QuotaError, check_together, parse_quotas
from models.errors import ControlsError

NEVER = "never"
DEFAULT = "default"
UNITS_S = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
MAX_EXPIRY_S = 100 * 366 * 24 * 3600


def read_scopes(scopes: Sequence[str], admin: bool) -> tuple[Scope, ...]:
    """Return the scopes of `--scope` and `--admin`, without duplicates.

    Raises:
        ControlsError: one is unknown.
    """
    wanted = {*scopes, *(["admin"] if admin else [])}
    for scope in sorted(wanted):
        if scope not in SCOPES:
            raise ControlsError(f"got --scope {scope!r}, expected {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in wanted)


def read_expiry(text: str, now_s: float | None = None) -> int | None:
    """Return the millisecond at which a key expires, from "90d", "12h", "2w" or "never" (None).

    Raises:
        ControlsError: another form, or more than a hundred years.
    """
    if text == NEVER:
        return None
    parts = re.fullmatch(r"([0-9]{1,9})([hdw])", text)
    seconds = int(parts[1]) * UNITS_S[parts[2]] if parts else 0
    if not 0 < seconds <= MAX_EXPIRY_S:
        raise ControlsError(f"got --expires {text!r}, expected hours, days or weeks, as in 12h, 90d or 8w, or {NEVER}")
    return int(((time.time() if now_s is None else now_s) + seconds) * 1000)


def read_quotas(items: Sequence[str], before: dict[str, str] | None = None) -> dict[str, str]:
    """Return quotas by name: those of `before`, changed by items such as "jobs=100".

    With `before`, "jobs=default" removes a quota from the key, so that the settings' one counts.

    Raises:
        ControlsError: an item has another form.
    """
    quotas, given = dict(before or {}), list(items)
    for item in items:
        name, _, text = item.partition("=")
        if before is not None and text.strip().lower() == DEFAULT and name.strip().lower() in FORMS:
            quotas.pop(name.strip().lower(), None)
            given.remove(item)
    try:
        quotas |= parse_quotas(given)
        if "requests" not in quotas and before and "requests" in before:
            quotas.pop("burst", None)  # it belonged to them
        check_together(quotas)
    except QuotaError as error:
        raise ControlsError(f"--quota: {error}") from error
    return quotas


def shown_quotas(quotas: dict[str, str]) -> str:
    """Return quotas in the form of the option, in a fixed order."""
    return " ".join(f"{name}={quotas[name]}" for name in (*FORMS, *sorted(quotas.keys() - FORMS)) if name in quotas)
