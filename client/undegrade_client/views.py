"""What the server answers, as objects: jobs, events and results.  Members that they lack are in `raw`."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undegrade_client.errors import InputError, UnexpectedAnswer

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

OVER = frozenset({"succeeded", "failed", "canceled", "expired"})
FINAL_EVENTS = frozenset({"completed", "failed", "canceled", "expired"})


@dataclass(frozen=True)
class Pass:
    """One pass (repair) of a job.

    Attributes:
        label: the degradation that was repaired, or the prompt.
        kept: whether its result was kept.
        by: "diffusion", "network", or "specialist NAME".
        probability_before, probability_after: of its degradation, 0 to 1.
        max_change_levels: the largest change of a channel value, in levels of 8 bits.
        seconds: its duration.
    """

    label: str
    kept: bool
    by: str
    probability_before: float
    probability_after: float | None
    max_change_levels: float | None
    seconds: float
    raw: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @property
    def visible(self) -> bool:
        """Whether one can see its change; true if it was not measured.

        One cannot if no value changed by more than a level, or if the mean is below a level and the largest below 16.
        """
        most, mean = self.max_change_levels, self.raw.get("mean_change_levels")
        return most is None or (most > 1 and (mean is None or mean >= 1 or most >= 16))


@dataclass(frozen=True)
class JobView:
    """A job as the server described it at some moment.

    Attributes:
        status: queued, running, succeeded, failed, canceled or expired.
        fraction: of all possible passes, 0 to 1.
        position, eta_s: jobs before it and estimated seconds to its end, while it is queued.
        degradations: probability by name, most probable first.
        error: code, detail and hint of a job that failed.
        raw: the JSON of the server.
    """

    id: str
    status: str
    kind: str
    fraction: float
    position: int | None
    eta_s: float | None
    degradations: Mapping[str, float]
    passes: tuple[Pass, ...]
    stop_reason: str | None
    seed: int | None
    warnings: tuple[str, ...]
    warning_codes: tuple[str, ...]
    error: Mapping[str, Any] | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.status in OVER


@dataclass(frozen=True)
class Detection:
    """The degradations of an image: probability by name, most probable first, "clean" among them."""

    job_id: str
    degradations: Mapping[str, float]

    @property
    def label(self) -> str:
        """The most probable degradation, or "clean"."""
        return next(iter(self.degradations), "clean")


@dataclass(frozen=True)
class Event:
    """An event of a job; docs/api.md lists the types and what `data` has."""

    id: str
    type: str
    data: Mapping[str, Any]

    @property
    def final(self) -> bool:
        """Whether no event can follow."""
        return self.type in FINAL_EVENTS

    @property
    def fraction(self) -> float | None:
        """How much of the job is done, 0 to 1, where the event says so."""
        value = self.data.get("fraction")
        return 1.0 if self.type == "completed" else float(value) if isinstance(value, (int, float)) else None


OnEvent = Callable[[Event], object]
"""Gets the events of a job while a call waits for its end."""


@dataclass(frozen=True)
class Result:
    """A restored image and the report about it.

    Attributes:
        data: the bytes of the image file.
        format: jpeg, png, webp, tiff or avif.
        degradations: what was found, probability by name, most probable first.
        passes: what was done.
        seed: the same seed repeats the result on the same device.
        warnings: what the service wants you to know about this result.
        warning_codes: the stable code of each warning; empty from older servers.
        change: how much the result differs from the input (mean_levels, max_levels, share), where it was measured.
        source: the image as it was given to `map` or `restore`.
        variants: all results, this one first, where the option `variants` asked for several; else empty.
    """

    data: bytes = field(repr=False)
    job: JobView = field(repr=False)
    job_id: str
    format: str
    width: int
    height: int
    degradations: Mapping[str, float]
    passes: tuple[Pass, ...]
    seed: int
    warnings: tuple[str, ...]
    warning_codes: tuple[str, ...]
    stop_reason: str | None
    change: Mapping[str, float] | None = None
    source: object = field(default=None, repr=False)
    variants: tuple[Result, ...] = field(default=(), repr=False)

    @property
    def repaired(self) -> tuple[str, ...]:
        """The degradations whose repair was kept and can be seen."""
        return tuple(entry.label for entry in self.passes if entry.kept and entry.visible)

    @property
    def image(self) -> PillowImage:
        """The image, decoded by Pillow.

        Raises:
            ModuleNotFoundError: Pillow is not installed (`pip install "undegrade-client[image]"`).
        """
        from PIL import Image

        decoded = Image.open(io.BytesIO(self.data))
        decoded.load()
        return decoded

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, complete or not at all, and return its path.  In a folder, it is JOB.EXTENSION.

        The bytes are written as they are: ask for another format by `restore(format=...)`.

        Raises:
            InputError: the file cannot be written.
        """
        ending = {"jpeg": "jpg", "tiff": "tif"}.get(self.format, self.format)
        target = Path(path) / f"{self.job_id}.{ending}" if os.path.isdir(path) else Path(path)
        partial = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            try:
                partial.write_bytes(self.data)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot write {target}: {error.strerror or error}.") from error
        return target


def job_view(body: Mapping[str, Any]) -> JobView:
    """Return a job from the server's JSON.

    Raises:
        UnexpectedAnswer: it is no job.
    """
    try:
        queue, progress, params = body.get("queue") or {}, body.get("progress") or {}, body.get("params") or {}
        return JobView(
            id=str(body["id"]),
            status=str(body["status"]),
            kind=str(body.get("kind", "restore")),
            fraction=float(progress.get("fraction", 0.0)),
            position=queue.get("position"),
            eta_s=queue.get("eta_s"),
            degradations=probabilities(body.get("degradations") or ()),
            passes=tuple(_pass(entry) for entry in body.get("passes") or ()),
            stop_reason=body.get("stop_reason"),
            seed=params.get("seed"),
            warnings=tuple(_text(warning) for warning in body.get("warnings") or ()),
            warning_codes=tuple(str(code) for code in body.get("warning_codes") or ()),
            error=body.get("error"),
            raw=body,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnexpectedAnswer(f"the server's answer is no job: {error!r}") from error


def result_of(job: JobView, images: Sequence[bytes], source: object) -> Result:
    """Return the result of a job that succeeded, with the images of its variants, the first of them its own."""
    rows = variant_rows(job)
    found = [_result(job, data, row, source) for data, row in zip(images, rows, strict=True)]
    return replace(found[0], variants=tuple(found)) if len(found) > 1 else found[0]


def variant_rows(job: JobView) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a job's results; a job with a single one is a row itself."""
    rows = job.raw.get("variants") or ()
    return rows if len(rows) > 1 else (job.raw,)


def _result(job: JobView, data: bytes, row: Mapping[str, Any], source: object) -> Result:
    stored, own = row.get("result") or {}, row is not job.raw
    return Result(
        data=data, job=job, job_id=job.id, format=str(stored.get("format", "")), width=int(stored.get("width", 0)),
        height=int(stored.get("height", 0)), degradations=job.degradations, warnings=job.warnings, source=source,
        passes=tuple(_pass(entry) for entry in row.get("passes") or ()) if own else job.passes,
        seed=int(row.get("seed") or 0) if own else job.seed or 0, stop_reason=row.get("stop_reason"),
        warning_codes=job.warning_codes, change=row.get("change"),
    )  # fmt: skip


def probabilities(entries: Any) -> dict[str, float]:  # noqa: ANN401 - JSON
    """Return the probability by name from the server's list."""
    return {str(entry["name"]): float(entry["probability"]) for entry in entries}


def _pass(entry: Mapping[str, Any]) -> Pass:
    return Pass(
        label=str(entry["label"]), kept=bool(entry.get("kept", True)), by=str(entry.get("by", "")),
        probability_before=float(entry.get("probability_before") or 0.0),
        probability_after=entry.get("probability_after"), max_change_levels=entry.get("max_change_levels"),
        seconds=float(entry.get("seconds") or 0.0), raw=entry,
    )  # fmt: skip


def _text(warning: Any) -> str:  # noqa: ANN401 - JSON
    """Return a warning as text; later servers may send its code beside it."""
    if isinstance(warning, Mapping):
        return str(warning.get("detail") or warning.get("text") or warning.get("code"))
    return str(warning)
