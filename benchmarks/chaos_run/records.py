"""What a chaos run knows: the model of every job, which the clients keep, and what is observed at the end.

The model is a file of JSON lines, one for each thing that a client has learned, so that a run can be checked again.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Sure = Literal["no", "maybe", "yes"]
FINAL_EVENTS = ("completed", "failed", "canceled", "expired")
OVER = ("succeeded", "failed", "canceled", "expired")


@dataclass
class Order:
    """One request for one or more jobs.

    Attributes:
        inputs: number of the picture of each job.
        attempts: how often it was sent.
        accepted: whether an answer said so.
    """

    op: str
    inputs: list[int]
    idempotent: bool
    webhook: bool
    attempts: int = 0
    accepted: bool = False


@dataclass
class JobModel:
    """What clients know of an accepted job.  `canceled`, `deleted`: "maybe" where the answer was lost."""

    op: str
    input: int
    canceled: Sure = "no"
    deleted: Sure = "no"


@dataclass
class Reader:
    """One reader of a job's events, with all its reconnects: (id, type).  `ended`: it saw the end of the stream."""

    job: str
    events: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False


@dataclass
class Model:
    """Everything that the clients know."""

    orders: dict[str, Order] = field(default_factory=dict)
    jobs: dict[str, JobModel] = field(default_factory=dict)
    readers: dict[str, Reader] = field(default_factory=dict)
    results: list[tuple[str, str]] = field(default_factory=list)
    """(job, hash of the pixels) of results that clients have fetched."""

    def apply(self, entry: dict[str, Any]) -> None:
        """Take over one line of the journal."""
        match entry.pop("what"):
            case "order":
                self.orders[entry["op"]] = Order(**entry)
            case "sent":
                self.orders[entry["op"]].attempts += 1
            case "accepted":
                order = self.orders[entry["op"]]
                order.accepted = True
                for number, job in enumerate(entry["jobs"]):
                    if job is not None:
                        self.jobs.setdefault(job, JobModel(order.op, order.inputs[number]))
            case "canceled" | "deleted" as what:
                setattr(self.jobs[entry["job"]], what, entry["sure"])
            case "seen":
                reader = self.readers.setdefault(entry["reader"], Reader(entry["job"]))
                reader.events += [(number, kind) for number, kind in entry["events"]]
                reader.ended = reader.ended or entry["ended"]
            case "result":
                self.results.append((entry["job"], entry["pixels"]))
            case "fault":  # for people: a run is judged by its jobs
                pass
            case other:
                raise ValueError(f"got a line of the journal of the kind {other!r}")


class Journal:
    """Writes the model to a file, line by line, and keeps it in memory."""

    def __init__(self, path: Path) -> None:
        self.model = Model()
        self._file = path.open("a", buffering=1)

    def note(self, what: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        self._file.write(json.dumps({"what": what, **fields}) + "\n")
        self.model.apply({"what": what, **fields})

    def close(self) -> None:
        self._file.close()


def read_journal(lines: Iterable[str]) -> Model:
    """Returns the model that a journal's lines make."""
    model = Model()
    for line in lines:
        model.apply(json.loads(line))
    return model


@dataclass(frozen=True)
class SeenJob:
    """A job as API, Redis and store have it at the end.

    Attributes:
        op: the label of its request.
        code: of its failure.
        pixels: hash of its result's pixels; `error` says why there is none.
        events: (id, type) of its stream.
        registries: of RQ's final registries, those that have it.
    """

    id: str
    op: str | None
    state: str
    code: str | None = None
    pixels: str | None = None
    error: str | None = None
    events: tuple[tuple[str, str], ...] = ()
    registries: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartFacts:
    """A running part: its open file descriptors, and its child processes by kind."""

    name: str
    kind: str
    files: int
    children: tuple[tuple[str, int], ...] = ()


@dataclass
class Observed:
    """Everything that is seen from outside at the end.

    Attributes:
        webhooks: (id of the message, id of the job) of each request that the receiver has answered with 204.
        ended: how many jobs have ended by state, as the counters of Redis say, also of jobs that are deleted.
        calm: most file descriptors of each kind of part in the calm time before the first fault.
        blobs, keys: what is left in store and Redis after all jobs are deleted or have expired.
        strays: processes of this run that belong to no part.
        surprises: parts that ended although no fault did that.
        usual_s, recovered_s: p95 of the latency before the first fault, and of jobs that were sent from 20 s after the
            last one on; infinite where none of those has succeeded.
    """

    jobs: dict[str, SeenJob] = field(default_factory=dict)
    webhooks: list[tuple[str, str]] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)
    parts: list[PartFacts] = field(default_factory=list)
    calm: dict[str, int] = field(default_factory=dict)
    blobs: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    usual_s: float | None = None
    recovered_s: float | None = None
