"""Reads what kind of response a client prefers: `Prefer: wait=N` (RFC 7240) and `Accept` (RFC 9110, 12.5.1)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.spec import Format
from service.image_header import MEDIA_TYPES
from service.refusals import NotAcceptable

MAX_WAIT_S = 60
JSON_TYPE = "application/json"


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


def prefers_redirect(prefer: Sequence[str]) -> bool:
    """Return whether the client prefers the URL of a picture in the store to its bytes (`Prefer: redirect`)."""
    preferences = ",".join(prefer).split(",")
    return any(preference.partition(";")[0].strip().lower() == "redirect" for preference in preferences)


@dataclass(frozen=True)
class Accepted:
    """An Accept header (RFC 9110, 12.5.1): media ranges with their weights, in the client's order."""

    ranges: tuple[tuple[str, float], ...]

    def weight(self, media_type: str) -> float:
        """Return the weight of a media type, 0 to 1: that of its most specific range, 0 where there is none."""
        for wanted in _ranges_of(media_type):
            weights = [weight for name, weight in self.ranges if name == wanted]
            if weights:
                return max(weights)
        return 0.0

    def place(self, media_type: str) -> int:
        """Return the place of the media type's most specific range, to decide between equal weights."""
        names = [name for name, _ in self.ranges]
        return next((names.index(wanted) for wanted in _ranges_of(media_type) if wanted in names), len(names))


def _ranges_of(media_type: str) -> tuple[str, str, str]:
    """Return the ranges that contain a media type, most specific first."""
    return media_type, media_type.partition("/")[0] + "/*", "*/*"


def accepted(accept: str | None) -> Accepted:
    """Parse an Accept header.  Without one, or with an empty one, the client accepts everything.

    A range with parameters other than q (`text/html;level=1`) is more specific than our types, so it matches none.
    """
    ranges = []
    for entry in (accept or "").split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        weights = [parameter for parameter in parameters if re.match(r"q\s*=", parameter)]
        if name and (not parameters or parameters[0] in weights):
            ranges.append((name, _weight(weights)))
    return Accepted(tuple(ranges) or ((("*/*", 1.0),) if not (accept or "").strip(" ,") else ()))


def _weight(weights: Sequence[str]) -> float:
    """Return the weight of a range; one that is not valid counts as 1, as if it were absent."""
    match = re.fullmatch(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", weights[0]) if weights else None
    return float(match[1]) if match else 1.0


def _best(accepts: Accepted, media_types: Iterable[str]) -> str:
    """Return the media type with the highest weight; of equal ones that which the client names first."""
    return max(media_types, key=lambda media_type: (accepts.weight(media_type), -accepts.place(media_type)))


def prefers_image(accept: str | None) -> bool:
    """Return whether the client prefers the image to the job.

    Raises:
        NotAcceptable: the client accepts neither.
    """
    accepts = accepted(accept)
    image = _best(accepts, MEDIA_TYPES.values())
    weights = accepts.weight(image), accepts.weight(JSON_TYPE)
    if not any(weights):
        raise NotAcceptable(f"got Accept: {accept}")
    return weights[0] > weights[1] or (weights[0] == weights[1] and accepts.place(image) < accepts.place(JSON_TYPE))


def check_accepted(accept: str | None, current: Format) -> None:
    """Check that the client accepts an image that is sent as it is.

    Raises:
        NotAcceptable: it does not.
    """
    if not accepted(accept).weight(MEDIA_TYPES[current]):
        raise NotAcceptable(f"got Accept: {accept}, and the image is {MEDIA_TYPES[current]}")


def format_to_convert_to(accept: str | None, current: Format) -> Format | None:
    """Return the format that an image must be converted to, or None if the client likes no other format better.

    Raises:
        NotAcceptable: the client accepts no format that we can write.
    """
    accepts = accepted(accept)
    by_type = {media_type: format for format, media_type in MEDIA_TYPES.items()}
    best = _best(accepts, by_type)
    if not accepts.weight(best):
        raise NotAcceptable(f"got Accept: {accept}, and the image is {MEDIA_TYPES[current]}")
    return None if accepts.weight(MEDIA_TYPES[current]) == accepts.weight(best) else by_type[best]


def output_format(accept: str | None, current: Format, requested: Format | None) -> Format | None:
    """Return the output format of a restored image, negotiated from `Accept` and the option `format`.

    Raises:
        NotAcceptable: `Accept` excludes the requested format, or every format that we can write.
    """
    if requested is None:
        return format_to_convert_to(accept, current)
    if not accepted(accept).weight(MEDIA_TYPES[requested]):
        raise NotAcceptable(f"got format={requested} and Accept: {accept}, which contradict each other")
    return requested
