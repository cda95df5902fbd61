"""What a worker gets from a lease (`Leased`, `Refused`) and what it gives back (`Finished`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.blob_store import Blob
from jobs.errors import NewerSpec, RefusedJob, SpecError
from jobs.record import Outcome
from jobs.request_context import NO_REQUEST, RequestContext, read_request_context
from jobs.rq_format import check
from jobs.spec import JobSpec, load_spec
from jobs.state import State


@dataclass(frozen=True, kw_only=True)
class Leased:
    """A job that a worker holds until its lease ends.  `queued_s` is how long it was queued this time.

    `number` counts the leases of the job.  A worker names it with all that it does, so that an earlier attempt cannot
    end a later lease of the same worker.
    """

    spec: JobSpec
    attempts: int
    deaths: int
    run_alone: bool  # it was in an engine that died: it shares no batch until it has ended
    cancel: bool
    input: bytes | None = None  # the image, where it was submitted with the job; others are in the store
    queued_s: float = 0.0
    request: RequestContext = NO_REQUEST
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A job in our lanes that this worker cannot run: it did not come through the API, or through a later one.

    It has been failed and never run.
    """

    id: str
    reason: str  # oversized | not-json | function-not-listed | callback | bad-spec | spec-version
    detail: str

    @property
    def code(self) -> str:
        """The code of the job's failure."""
        return self.reason if self.reason == "spec-version" else "refused"

    @property
    def hint(self) -> str:
        if self.reason == "spec-version":
            return "upgrade the workers before the API, then submit the image again"
        return "submit it through the API"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a job ended, ready to commit.

    Attributes:
        keep_s: how long to keep its record and its result.
        work_s: seconds for which the engine worked on the job, without the time in which it waited for its turn.
        blob: the result, where it is stored together with the commit.
        number: of its lease; None: any lease of the worker.
        fence: names this attempt, so that a commit whose reply was lost knows its own end when it is sent again.
    """

    id: str
    state: State
    outcome: Outcome
    keep_s: int
    work_s: float = 0.0
    blob: Blob | None = None
    fence: str | None = None
    number: int | None = None


def read_lease_row(row: Sequence[bytes], bundles: Sequence[str]) -> Leased | Refused:
    """Read a row of scripts/lease.lua, and check that the job is one of ours, and of one of these bundles."""
    job, kind = row[0].decode(errors="backslashreplace"), row[1]
    if kind == b"oversized":
        return Refused(id=job, reason="oversized", detail=f"job {job} has {int(row[2])} bytes")
    data, callbacks = (row[2], row[3]) if kind == b"foreign" else (row[3], row[4])
    try:
        check(job, {b"data": data, b"success_callback_name": callbacks})
        if kind == b"foreign":
            raise RefusedJob("function-not-listed", f"job {job} did not come through the API")
        spec = _own_spec(row[2], job, bundles)
    except RefusedJob as error:
        return Refused(id=job, reason=error.reason, detail=str(error))
    except NewerSpec as error:
        return Refused(id=job, reason="spec-version", detail=f"job {job}: {error}")
    except SpecError as error:
        return Refused(id=job, reason="bad-spec", detail=f"job {job}: {error}")
    attempts, deaths, alone, cancel, image, queued_ms, request, number = row[5:13]
    return Leased(
        spec=spec, attempts=int(attempts), deaths=int(deaths), run_alone=bool(alone), cancel=bool(cancel),
        input=image or None, queued_s=max(0, int(queued_ms)) / 1000, request=read_request_context(request),
        number=int(number),
    )  # fmt: skip


def _own_spec(text: bytes, job: str, bundles: Sequence[str]) -> JobSpec:
    spec = load_spec(text)
    if spec.id != job:
        raise SpecError(f"id: got {spec.id!r}, expected the job's own")
    if spec.bundle not in bundles:
        raise SpecError(f"bundle: got {spec.bundle[:80]!r}, expected that of its queue")
    return spec
