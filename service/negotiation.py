"""What a client would like: `Prefer: wait=N` (RFC 7240) and `Accept` (RFC 9110, 12.5.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.spec import Format
from service.image_header import MEDIA_TYPES
from service.refusals import NotAcceptable

MOST_WAIT_S = 60
JSON_TYPES = ("application/json", "application/problem+json", "application/*", "*/*")


@dataclass(frozen=True)
class Preference:
    """How long to wait, and what was agreed to."""

    wait_s: float
    applied: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Preference-Applied": self.applied} if self.applied else {}


def preference(prefer: Sequence[str], otherwise_s: float) -> Preference:
    """From the Prefer headers; what cannot be understood is not applied, as the RFC has it."""
    for word in ",".join(prefer).split(","):
        word = word.partition(";")[0].strip().lower()
        if word == "respond-async":
            return Preference(0.0, "respond-async")
        if found := re.fullmatch(r"wait\s*=\s*\"?(\d{1,9})\"?", word):
            wait_s = min(int(found[1]), MOST_WAIT_S)
            if wait_s >= 1:
                return Preference(wait_s, f"wait={wait_s}")
    return Preference(otherwise_s)


def accepted(accept: str | None) -> list[str]:
    """The media types of an Accept header, best first; those with q=0 are left out."""
    entries = []
    for entry in (accept or "*/*").split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = _weight(parameters)
        if name and weight > 0:
            entries.append((weight, name))
    return [name for _, name in sorted(entries, key=lambda entry: -entry[0])] or ["*/*"]


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if found := re.fullmatch(r"q\s*=\s*([01](?:\.\d{0,3})?)", parameter):
            return float(found[1])
    return 1.0


def wants_picture(accept: str | None) -> bool:
    """Whether the client would rather have the picture than the job.

    Raises:
        NotAcceptable: it would have neither.
    """
    types = accepted(accept)
    if not any(name in JSON_TYPES or name.startswith("image/") for name in types):
        raise NotAcceptable(f"got Accept: {accept}")
    return types[0].startswith("image/")


def other_format(accept: str | None, own: Format) -> Format | None:
    """The format to turn a picture of format `own` into; None where it will do as it is.

    Raises:
        NotAcceptable: no format that can be written is accepted.
    """
    types = accepted(accept)
    if MEDIA_TYPES[own] in types or "image/*" in types or "*/*" in types:
        return None
    by_type = {media_type: kind for kind, media_type in MEDIA_TYPES.items()}
    if chosen := next((by_type[name] for name in types if name in by_type), None):
        return chosen
    raise NotAcceptable(f"got Accept: {accept}, and the picture is {MEDIA_TYPES[own]}")
