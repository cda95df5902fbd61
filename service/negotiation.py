"""Reads what kind of response a client prefers: `Prefer: wait=N` (RFC 7240) and `Accept` (RFC 9110, 12.5.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.spec import Format
from service.image_header import MEDIA_TYPES
from service.refusals import NotAcceptable

MAX_WAIT_S = 60
JSON_TYPES = ("application/json", "application/problem+json", "application/*", "*/*")


@dataclass(frozen=True)
class WaitPreference:
    """How long to wait for the job, and the preference that was applied."""

    wait_s: float
    applied: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Preference-Applied": self.applied} if self.applied else {}


def wait_preference(prefer: Sequence[str], default_s: float) -> WaitPreference:
    """Parse the Prefer headers.  As the RFC requires, an unknown preference is ignored."""
    for preference in ",".join(prefer).split(","):
        preference = preference.partition(";")[0].strip().lower()
        if preference == "respond-async":
            return WaitPreference(0.0, "respond-async")
        if match := re.fullmatch(r"wait\s*=\s*\"?(\d{1,9})\"?", preference):
            wait_s = min(int(match[1]), MAX_WAIT_S)
            if wait_s >= 1:
                return WaitPreference(wait_s, f"wait={wait_s}")
    return WaitPreference(default_s)


def accepted_types(accept: str | None) -> list[str]:
    """Return the media types of an Accept header, most preferred first, without those of q=0."""
    entries = []
    for entry in (accept or "*/*").split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = _weight(parameters)
        if name and weight > 0:
            entries.append((weight, name))
    return [name for _, name in sorted(entries, key=lambda entry: -entry[0])] or ["*/*"]


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if match := re.fullmatch(r"q\s*=\s*([01](?:\.\d{0,3})?)", parameter):
            return float(match[1])
    return 1.0


def prefers_image(accept: str | None) -> bool:
    """Return whether the client prefers the image to the job.

    Raises:
        NotAcceptable: the client accepts neither.
    """
    types = accepted_types(accept)
    if not any(name in JSON_TYPES or name.startswith("image/") for name in types):
        raise NotAcceptable(f"got Accept: {accept}")
    return types[0].startswith("image/")


def format_to_convert_to(accept: str | None, current: Format) -> Format | None:
    """Return the format that an image must be converted to, or None if the client accepts its current format.

    Raises:
        NotAcceptable: the client accepts no format that we can write.
    """
    types = accepted_types(accept)
    if MEDIA_TYPES[current] in types or "image/*" in types or "*/*" in types:
        return None
    by_type = {media_type: format for format, media_type in MEDIA_TYPES.items()}
    if chosen := next((by_type[name] for name in types if name in by_type), None):
        return chosen
    raise NotAcceptable(f"got Accept: {accept}, and the image is {MEDIA_TYPES[current]}")


def output_format(accept: str | None, current: Format, requested: Format | None) -> Format | None:
    """Return the output format of a restored image, negotiated from `Accept` and the option `format`.

    Raises:
        NotAcceptable: `Accept` excludes the requested format, or every format that we can write.
    """
    negotiated = format_to_convert_to(accept, requested or current)
    if negotiated and requested:
        raise NotAcceptable(f"got format={requested} and Accept: {accept}, which contradict each other")
    return negotiated or requested
