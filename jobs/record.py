"""The record of a job (state, progress, outcome) and of a worker."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from pydantic import ConfigDict, Field

from jobs.errors import NewerSpec, SpecError
from jobs.request_context import NO_REQUEST, RequestContext, read_request_context
from jobs.spec import FrozenModel, JobSpec, load_spec
from jobs.state import State


class TolerantModel(FrozenModel):
    """A part of a record that one process writes and another reads: fields of a later version are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Progress(TolerantModel):
    """How far a job is.  `fraction` (0 to 1) is of all possible passes: it jumps when the image is clean early."""

    fraction: float = 0.0
    pass_index: int = 0
    passes: int = 1
    step: int = 0
    steps: int = 1


class PassRecord(TolerantModel):
    """One pass of the loop.  `blob` names the picture after it, where those are kept."""

    label: str
    source: str
    by: str = ""
    probability_before: float
    probability_after: float | None = None
    kept: bool = True
    seconds: float = 0.0
    max_change_levels: float | None = None
    mean_change_levels: float | None = None
    changed_share: float | None = None
    blob: str | None = None


class Result(TolerantModel):
    """The restored picture."""

    blob: str
    bytes: int
    sha256: str
    format: str
    width_px: int
    height_px: int


class Failure(TolerantModel):
    """Why a job failed: a stable code, a sentence, and what to do next."""

    code: str
    detail: str
    hint: str = ""


class Change(TolerantModel):
    """How much the result differs from the input, in levels of 8 bits, and in which share of the pixels (0 to 1)."""

    mean_levels: float
    max_levels: float
    share: float


class Understood(TolerantModel):
    """How a prompt was understood: the first repair that it asks for, how surely (0 to 1), and words without a part.

    `used` is what reached the network: "text", "label" or "nothing".  `answer` ("repairs", "nothing", "auto",
    "unknown"), `repairs`, `kept`, `language` and `sure` are what the words mean; workers of an earlier version do not
    say it.
    """

    label: str
    score: float
    ignored: tuple[str, ...] = ()
    used: str = "text"
    answer: str = ""
    repairs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    language: str = ""
    sure: float = 0.0


class Variant(TolerantModel):
    """One of several results of a job, and how it came about."""

    seed: int
    result: Result
    passes: tuple[PassRecord, ...] = ()
    stop_reason: str | None = None
    change: Change | None = None


class Outcome(TolerantModel):
    """How a job ended; while it runs, what is known so far.

    `warning_codes` has the code of each warning, `checked` what the result was compared for.  `credit` is that of the
    bundle.  `variants` lists all results of a job that has several, the first among them; the other fields are those of
    the first.
    """

    degradations: dict[str, float] = Field(default_factory=dict)
    passes: tuple[PassRecord, ...] = ()
    stop_reason: str | None = None
    seed: int | None = None
    steps: int | None = None
    warnings: tuple[str, ...] = ()
    warning_codes: tuple[str, ...] = ()
    understood: Understood | None = None
    change: Change | None = None
    checked: tuple[str, ...] = ()
    credit: str = ""
    result: Result | None = None
    variants: tuple[Variant, ...] = ()
    failure: Failure | None = None
    seconds: dict[str, float] = Field(default_factory=dict)  # stage -> seconds

    @property
    def results(self) -> Sequence[Result]:
        """All results, the first of which is `result`; none where the job has no image."""
        if self.result is None:
            return ()
        return [self.result, *(variant.result for variant in self.variants[1:])]


class JobRecord(FrozenModel):
    """Everything that Redis knows of a job.  Times are milliseconds since 1970 by Redis' clock.

    A job that a worker holds is `queued` until the worker's engine begins with it, although Redis says `running`.
    """

    spec: JobSpec
    state: State
    enqueued_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None
    expires_ms: int | None = None
    attempts: int = 0
    deaths: int = 0
    cancel: bool = False
    progress: Progress = Progress()
    outcome: Outcome = Outcome()
    request: RequestContext = NO_REQUEST

    def is_late(self, now_s: float) -> bool:
        """Return whether the job is still queued after its deadline, because no process has ended it yet."""
        deadline_ms = self.spec.deadline_ms
        return self.state is State.QUEUED and deadline_ms is not None and now_s * 1000 > deadline_ms


class Degradation(TolerantModel):
    """A degradation that a bundle can repair."""

    name: str
    prompt: str
    fidelity: float = 1.0


class OperatorMark(TolerantModel):
    """An operator's order that stays until it is taken back: when it was given, by whom, and for what."""

    since_ms: int
    by: str = ""
    of: Literal["lane", "worker", "host"] = "lane"


WorkerState = Literal["idle", "busy", "draining", "drained", "stopping", "not-ready"]


class WorkerInfo(TolerantModel):
    """What a worker announces for one of its bundles.

    Attributes:
        prompts: "words" where a prompt is taken as words that may be refused, "free" where it is free text.
        ready: its engine has passed the golden image.
        reason: why it is not ready.
        cannot_load: its memory does not suffice for its engine.
        stopping: it takes no more jobs and ends soon.
        drained: it knows that an operator drains it, and holds no job.
        drain: who drains it, or its host; the registry adds this when it is read.
        version: of undegrade.
        sha256: of the bundle's manifest, which holds those of all its files.
        device_name, driver: of a CUDA device; "" on a CPU.
        device_bytes: memory of the CUDA device, or memory that the process may use on a CPU.
        memory_bytes: what the engine holds of it.
        steps_per_s: denoising steps lately, of all its bundles; a step of four images counts four.
        jobs_ended: of all its bundles, since it started.
    """

    name: str
    host: str
    bundle: str
    family: str
    bundle_version: str
    license: str = ""
    credit: str = ""
    device: str
    lanes: tuple[str, ...]
    degradations: tuple[Degradation, ...] = ()
    prompts: str = "free"
    max_batch: int
    budget_mp: float | None = None
    ready: bool = False
    reason: str = ""
    cannot_load: bool = False
    in_hand: int = 0
    started_ms: int
    stopping: bool = False
    drained: bool = False
    drain: OperatorMark | None = None
    version: str = ""
    sha256: str = ""
    device_name: str = ""
    driver: str = ""
    device_bytes: int | None = None
    memory_bytes: int | None = None
    steps_per_s: float = 0.0
    jobs_ended: int = 0

    @property
    def takes_jobs(self) -> bool:
        return self.ready and self.drain is None and not self.stopping

    @property
    def state(self) -> WorkerState:
        """In one word.  It is drained only once it has said so itself: until then it may hold a job."""
        if self.stopping:
            return "stopping"
        if self.drain is not None:
            return "drained" if self.drained and not self.in_hand else "draining"
        if not self.ready:
            return "not-ready"
        return "busy" if self.in_hand else "idle"


def read_record(fields: Mapping[bytes, bytes], spec: JobSpec | None = None) -> JobRecord | None:
    """Read a job's Redis hash; None where it is empty, or where somebody else has written a spec that is not valid.

    Pass the spec, which never changes, to save its parsing.

    Raises:
        NewerSpec: a later version of undegrade has written the spec.
    """
    if b"spec" not in fields:
        return None
    try:
        spec = spec or load_spec(fields[b"spec"])
    except NewerSpec:
        raise
    except SpecError:
        return None

    def number(name: bytes) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    state, started_ms = State(fields[b"state"].decode()), number(b"started_ms")
    if state is State.RUNNING and started_ms is None:  # a worker holds it, and decodes it while others run
        state = State.QUEUED
    return JobRecord(
        spec=spec,
        state=state,
        enqueued_ms=number(b"enqueued_ms") or 0,
        started_ms=started_ms,
        ended_ms=number(b"ended_ms"),
        expires_ms=number(b"expires_ms"),
        attempts=number(b"attempts") or 0,
        deaths=number(b"deaths") or 0,
        cancel=bool(fields.get(b"cancel")),
        progress=Progress.model_validate_json(fields.get(b"progress") or b"{}"),
        outcome=Outcome.model_validate_json(fields.get(b"outcome") or b"{}"),
        request=read_request_context(fields.get(b"request")),
    )


def readable_records(rows: Iterable[Mapping[bytes, bytes]]) -> list[JobRecord]:
    """Returns the records of these hashes, without those that only a later version can read."""
    records = []
    for row in rows:
        with suppress(NewerSpec):
            if record := read_record(row):
                records.append(record)
    return records
