"""The job spec: what to do with which blob.  It holds no pixels, and golden files in the tests pin its versions.

A spec is written as version 1 if it asks for nothing that version 1 does not know, so that workers of an earlier
version run it (docs/decisions/0036).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from jobs.blob_names import belongs_to
from jobs.errors import NewerSpec, SpecError
from jobs.labels import check_labels
from jobs.stored_model import StoredModel

Lane = Literal["interactive", "standard", "bulk"]
Kind = Literal["restore", "detect", "noop"]
Format = Literal["jpeg", "png", "webp", "tiff", "avif"]

LANES: tuple[Lane, ...] = ("interactive", "standard", "bulk")
HEAD_START_S: dict[Lane, float] = {"interactive": 0.0, "standard": 20.0, "bulk": 300.0}
"""The lane goes first whose first job has waited longest beyond this: lanes have an order, and no lane starves."""
VERSION: Literal[2] = 2
"""The latest version of the spec."""
MAX_EXACT = 2**53
"""Lua and JSON keep whole numbers exactly up to here."""
MAX_SIDE_PX = 2**31
MAX_KEEP_S = 10**11
"""Redis takes times to live of at most about 2^63 ms."""


class FrozenModel(StoredModel):
    """A pydantic model that cannot change, refuses unknown fields and holds no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _checked(labels: dict[str, str]) -> dict[str, str]:
    check_labels(labels)
    return labels


Labels = Annotated[dict[str, str], AfterValidator(_checked)]
"""As jobs.labels says."""


Share = Annotated[float, Field(ge=0, le=1)]
MAX_NAMES = 32
"""Degradations in one control."""


def _kind_of_strength(value: object) -> str:
    return "shares" if isinstance(value, Mapping) else "share"


Strength = Annotated[
    Annotated[Share, Tag("share")]
    | Annotated[dict[str, Share], Field(min_length=1, max_length=MAX_NAMES), Tag("shares")],
    Discriminator(_kind_of_strength),
]
Pixels = Annotated[int, Field(ge=0, le=MAX_SIDE_PX)]
Size = Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
Preset = Literal["auto", "faithful", "strong", "preview"]


class JobControls(FrozenModel):
    """The controls of a job; None means the bundle's default.  Ranges are those of `models.controls.Controls`."""

    prompt: str | None = Field(default=None, max_length=1000, description="What to repair, in words; a pass for each.")
    best_effort: bool = Field(default=False, description="Do what can be done of a prompt, instead of refusing it.")
    only: tuple[str, ...] = Field(default=(), max_length=MAX_NAMES, description="Repair only these degradations.")
    skip: tuple[str, ...] = Field(default=(), max_length=MAX_NAMES, description="Never repair these degradations.")
    strength: Strength = Field(
        default=1.0, description="0 returns the input, 1 the full restoration; or a share for each degradation."
    )
    fidelity: float | None = Field(default=None, ge=0, le=1, description="1 stays closest to the input.")
    color_fix: bool = Field(default=False, description="Give the result the input's mean colors and contrast.")
    max_passes: int | None = Field(default=None, ge=1, le=100, description="Maximum number of passes.")
    steps: int | None = Field(default=None, ge=1, le=1000, description="Denoising steps per pass.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="The same seed repeats a result.")
    preset: Preset = Field(default="auto", description="A set of values for the other controls; theirs win.")
    scale: Literal[1, 2, 4] = Field(default=1, description="Enlarge both sides, then repair low resolution.")
    crop: tuple[Pixels, Pixels, Size, Size] | None = Field(
        default=None, description="x,y,width,height in pixels of the upright image: restore only this part."
    )
    variants: int = Field(default=1, ge=1, le=4, description="Results with the seeds seed, seed + 1, ...")

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is newer than version 1 and not used."""
        written: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {name: value for name, value in written.items() if name not in NEWER or value != fields[name].default}

    @property
    def version(self) -> Literal[1, 2]:
        """The first version of the spec that knows all that these controls ask for."""
        newer = isinstance(self.strength, Mapping) or any(
            getattr(self, name) != type(self).model_fields[name].default for name in NEWER
        )
        return 2 if newer else 1


NEWER = ("preset", "scale", "crop", "variants", "best_effort")
"""Controls that version 1 of the spec does not know."""


class Source(FrozenModel):
    """The input: its blob, and what the image header says."""

    blob: str
    bytes: int = Field(ge=0, le=MAX_EXACT)
    sha256: str = Field(max_length=64)
    format: str = Field(max_length=32)
    width_px: int = Field(ge=0, le=MAX_SIDE_PX)
    height_px: int = Field(ge=0, le=MAX_SIDE_PX)

    @property
    def megapixels(self) -> float:
        return self.width_px * self.height_px / 1e6


class Output(FrozenModel):
    """How to write the result.  None keeps the input's format and the format's default quality."""

    format: Format | None = Field(default=None, description="The result's format. Default: the input's.")
    quality: int | None = Field(default=None, ge=1, le=100, description="Of JPEG, WebP and AVIF.")
    metadata: bool = Field(default=True, description="Keep EXIF, XMP, IPTC and texts. Locations are always removed.")
    passes: bool = Field(default=True, description="Keep an image of each pass.")


class JobSpec(FrozenModel):
    """One job.

    A reader ignores top-level fields that it does not know.  So a version of undegrade may add one that does not change
    the result; what changes the result (in `controls`, `source`, `output` or `kind`) needs another `version`
    (docs/decisions/0032).

    Attributes:
        submitted_ms, deadline_ms: milliseconds since 1970 by the server's clock; after the deadline the job expires.
        keep_s: how long its result and record stay after it has ended.
        owner: the id of its API key; None where the service needs no key.
        version: of the spec: the first that knows its controls, whatever is given.
        labels: of the caller.
        store: False where nothing may stay of the job after its answer.
        batch: the id of the batch that it belongs to.
        file_name: of the caller's file, cleaned and without extension; it goes with the prompt when the job is erased.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    version: Literal[1, 2] = 1
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    kind: Kind = "restore"
    bundle: str
    lane: Lane = "standard"
    controls: JobControls = JobControls()
    source: Source | None = None
    output: Output = Output()
    submitted_ms: int = Field(ge=0, le=MAX_EXACT)
    deadline_ms: int | None = Field(default=None, ge=0, le=MAX_EXACT)
    keep_s: int = Field(default=24 * 3600, ge=1, le=MAX_KEEP_S)
    owner: str | None = None
    labels: Labels = Field(default_factory=dict)
    store: bool = True
    batch: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    file_name: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def _set_version(self) -> "JobSpec":
        object.__setattr__(self, "version", self.controls.version)
        return self

    @property
    def queue(self) -> str:
        return queue_name(self.bundle, self.lane)

    @property
    def held_megapixels(self) -> float:
        """Of the largest image that a worker holds for the job: the whole input, or the enlarged part of it."""
        controls, of_source = self.controls, self.source.megapixels if self.source else 0.0
        of_part = controls.crop[2] * controls.crop[3] / 1e6 if controls.crop else of_source
        return max(of_source, of_part * controls.scale**2)

    def without_prompt(self) -> "JobSpec":
        """Returns the spec without what its user has written: the prompt and the name of the file."""
        controls = self.controls.model_copy(update={"prompt": None})
        return self.model_copy(update={"controls": controls, "file_name": None})

    def dump(self) -> str:
        return self.model_dump_json()


def queue_name(bundle: str, lane: Lane) -> str:
    """Returns the name of the RQ queue.  Each bundle has its own, so a worker finds the jobs that it can do at once."""
    return f"{bundle}.{lane}"


def load_spec(text: str | bytes) -> JobSpec:
    """Read a spec.

    Raises:
        NewerSpec: a later version of undegrade has written it: another version, or an unknown field that may matter.
        SpecError: not JSON, or a field that is missing or out of range; the message names it.  Also where the input is
            not a blob of this job: a spec must not reach other files.
    """
    try:
        spec = JobSpec.model_validate_json(text)
    except ValidationError as error:
        raise _newer(error) or SpecError(_words(error.errors()[0])) from error
    if spec.source is not None and not belongs_to(spec.source.blob, spec.id):
        raise SpecError(f"source.blob: got {spec.source.blob[:80]!r}, expected the name of a blob of this job")
    return spec


def _words(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "spec"
    return f"{where}: {problem['msg']}"


def _newer(error: ValidationError) -> NewerSpec | None:
    """Returns the error for a spec of a later version, else None."""
    for problem in error.errors():
        version = problem["input"]
        if problem["loc"] == ("version",) and isinstance(version, int) and version > VERSION:
            return NewerSpec(f"version: got a spec of version {version}, expected at most {VERSION}")
        if problem["type"] == "extra_forbidden":
            return NewerSpec(f"{_words(problem)}: the field is unknown to this version of undegrade")
    return None
