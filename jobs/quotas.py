"""Quotas of an API key: their text form, as in `--quota requests=10/s`, and what they allow.

| name | form | limits |
|---|---|---|
| requests | N/s, N/min or N/h | requests; a bucket that holds N and refills evenly |
| burst | N | the size of that bucket, where it differs from the N of `requests` |
| jobs | N | jobs in line: submitted and not ended |
| megapixels | N/day | megapixels of submitted images, from 00:00 to 24:00 UTC |
| waits | N | long polls and event streams that are open at the same time |

The text `unlimited` in place of a number switches a quota off, also where the settings of the service have one.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

UNLIMITED = "unlimited"
PERIODS_S = {"s": 1, "min": 60, "h": 3600}
DAY_S = 86_400
PIXELS_PER_MEGAPIXEL = 10**6
MAX_COUNT = 1_000_000
"""Of jobs, megapixels, waits and requests."""
MAX_REQUESTS_PER_S = 10_000
FORMS = {"requests": "10/s, 600/min or 1000/h", "burst": "20", "jobs": "100", "megapixels": "5000/day", "waits": "20"}
"""By name, examples of the form."""


class QuotaError(ValueError):
    """A quota has another form; the message says which is expected."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket of requests: it holds `burst`, and one more arrives every `interval_us` microseconds."""

    burst: int
    interval_us: float

    @property
    def window_s(self) -> int:
        """The seconds in which an empty bucket becomes full."""
        return max(1, math.ceil(self.burst * self.interval_us / 1e6))


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """What a caller may do; None is unlimited."""

    requests: Bucket | None = None
    jobs: int | None = None
    megapixels: int | None = None
    waits: int | None = None

    def __bool__(self) -> bool:
        return self != NO_QUOTAS


NO_QUOTAS = Quotas()


def parse_quota(name: str, text: str) -> str:
    """Check one quota and return it in its canonical form: `parse_quota("requests", " 010/s")` is "10/s".

    Raises:
        QuotaError: the name is unknown, or the text has another form.
    """
    if name not in FORMS:
        raise QuotaError(f"got the quota {name!r}, expected one of {', '.join(FORMS)}")
    text = text.strip().lower()
    if text == UNLIMITED and name != "burst":
        return text
    digits, slash, period = text.partition("/")
    if re.fullmatch(r"[0-9]{1,12}", digits) and f"{slash}{period}" in _endings(name):
        count = int(digits)
        most = MAX_REQUESTS_PER_S * PERIODS_S[period] if name == "requests" else MAX_COUNT
        if 1 <= count <= min(most, MAX_COUNT):
            return f"{count}{slash}{period}"
        raise QuotaError(f"got {name}={text}, expected a number from 1 to {min(most, MAX_COUNT):,}")
    or_none = "" if name == "burst" else f", or {UNLIMITED}"
    raise QuotaError(f"got {name}={text}, expected a form such as {FORMS[name]}{or_none}")


def parse_quotas(items: Iterable[str]) -> dict[str, str]:
    """Return the quotas of items such as "requests=10/s", by name.

    Raises:
        QuotaError: an item has another form or occurs twice.
    """
    quotas: dict[str, str] = {}
    for item in items:
        name, equals, text = item.partition("=")
        name = name.strip().lower()
        if not equals:
            raise QuotaError(f"got the quota {item!r}, expected NAME=VALUE, as in requests=10/s")
        if name in quotas:
            raise QuotaError(f"got the quota {name} twice")
        quotas[name] = parse_quota(name, text)
    return quotas


def check_together(quotas: Mapping[str, str]) -> None:
    """Check quotas that each have the right form.

    Raises:
        QuotaError: a burst has no requests to limit.
    """
    if "burst" in quotas and quotas.get("requests", UNLIMITED) == UNLIMITED:
        raise QuotaError("got burst without a limit of requests, expected requests as well, such as requests=10/s")


def quotas_of(own: Mapping[str, str], defaults: Mapping[str, str] | None = None) -> Quotas:
    """Return what a caller may do: its own quotas, and for the others the defaults.

    A burst belongs to the requests beside it: a key with its own `requests` does not get the default burst.  Quotas
    with unknown names, which a later version may have stored, limit nothing.

    Raises:
        QuotaError: a later version has stored a form that this one does not know.
    """
    return _quotas_of(tuple(own.items()), tuple((defaults or {}).items()))


@lru_cache(maxsize=1024)  # each request asks
def _quotas_of(own: tuple[tuple[str, str], ...], defaults: tuple[tuple[str, str], ...]) -> Quotas:
    mine, texts = dict(own), dict(defaults)
    if "requests" in mine:
        texts.pop("burst", None)
    texts = {name: parse_quota(name, text) for name, text in {**texts, **mine}.items() if name in FORMS}
    return Quotas(
        requests=_bucket(texts.get("requests", UNLIMITED), texts.get("burst")),
        jobs=_count(texts.get("jobs", UNLIMITED)),
        megapixels=_count(texts.get("megapixels", UNLIMITED)),
        waits=_count(texts.get("waits", UNLIMITED)),
    )


def _endings(name: str) -> tuple[str, ...]:
    return {"requests": tuple(f"/{period}" for period in PERIODS_S), "megapixels": ("/day",)}.get(name, ("",))


def _count(text: str) -> int | None:
    return None if text == UNLIMITED else int(text.partition("/")[0])


def _bucket(requests: str, burst: str | None) -> Bucket | None:
    count = _count(requests)
    if count is None:
        return None
    period_s = PERIODS_S[requests.partition("/")[2]]
    return Bucket(burst=count if burst is None else int(burst), interval_us=period_s * 1e6 / count)
