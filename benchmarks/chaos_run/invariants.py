"""What must hold at the end of a chaos run, as pure functions of the model and of what was observed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chaos_run.records import FINAL_EVENTS, OVER, JobModel, Model, Observed, SeenJob, Sure

EXPLAINED_FAILURES = {
    "poison-suspected": ("kill", "pause", "engine", "decoder", "deploy", "scale", "redis", "link", "failover"),
    "out-of-memory": ("kill-engine",),
    "bad-image": ("decoder",),
    "encode": ("decoder",),
    "decode-timeout": ("pause",),
    "store-unavailable": ("store",),
    "storage-full": ("store", "redis"),
}
"""Codes with which a healthy job may fail, and the words in the names of faults that explain them.  A job fails whose
worker, engine or decoder died twice, or for which the store refused 8 tries (docs/architecture.md)."""
EVENT_OF_STATE = {"succeeded": "completed", "failed": "failed", "canceled": "canceled", "expired": "expired"}
REGISTRY_OF_STATE = {"succeeded": "finished", "failed": "failed", "canceled": "canceled", "expired": "failed"}
MORE_FILES = 72
"""Descriptors beyond those of the calm time: a burst fills a pool of up to 64 connections, which stay open."""
CHILDREN = {"worker": {"engine": 1, "decoder": 2, "tracker": 1}}
RECOVERED_FACTOR, RECOVERED_EXTRA_S = 3.0, 2.0


@dataclass(frozen=True)
class Violation:
    """A promise that was broken: of which job or thing, and how."""

    rule: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.detail}"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a run promises.

    Attributes:
        pixels: hash of the right result of each input, by its number.
        faults: names of the injected kinds of faults.
        replicated: a failover may lose cancels, deletions and events that no replica had; accepted jobs, results, and
            the notes of blobs in the store are waited for.
    """

    pixels: Mapping[int, str]
    faults: frozenset[str] = frozenset()
    replicated: bool = False


def violations(model: Model, seen: Observed, terms: Terms) -> list[Violation]:
    """Returns every promise that was broken, jobs first."""
    found = [*_jobs(model, seen, terms), *_orders(model, seen, terms), *_published_once(model, seen, terms)]
    found += [*_readers(model, seen, terms), *_webhooks(model, seen), *_fetched(model, terms)]
    return [*found, *_leaks(seen), *_recovery(seen)]


def _jobs(model: Model, seen: Observed, terms: Terms) -> Iterator[Violation]:
    """Every accepted job is in exactly one final state, which its faults and clients explain, with the right result."""
    for job, known in model.jobs.items():
        now = seen.jobs.get(job)
        if now is None:
            if known.deleted == "no":
                yield Violation("lost", job, f"accepted by {known.op}, and gone")
        elif known.deleted == "yes" and not terms.replicated:
            yield Violation("undeleted", job, f"deleted, and {now.state}")
        else:
            yield from _state(known, now, terms)
    for job, now in seen.jobs.items():
        order = model.orders.get(now.op or "")
        if job in model.jobs:
            continue
        if order is None:
            yield Violation("unknown-job", job, f"{now.state}, and no client has sent it")
        else:  # the answer was lost, or a batch was refused halfway and erased, which a failover may take back
            erased: Sure = "maybe" if terms.replicated and len(order.inputs) > 1 else "no"
            yield from _state(JobModel(order.op, -1, deleted=erased), now, terms, order.inputs)


def _state(known: JobModel, now: SeenJob, terms: Terms, inputs: Sequence[int] = ()) -> Iterator[Violation]:
    if now.state not in OVER:
        yield Violation("lost", now.id, f"still {now.state}")
        return
    if now.registries != (REGISTRY_OF_STATE[now.state],):
        yield Violation("two-states", now.id, f"{now.state}, and RQ has it in {list(now.registries)}")
    # A failover may take back the end of a job, and not the deletion of its pictures, which somebody has asked for
    emptied = terms.replicated and (known.canceled != "no" or known.deleted != "no")
    if now.state == "succeeded":
        right = {terms.pixels[number] for number in (inputs or [known.input])}
        if now.pixels is None and emptied:
            return
        if now.pixels is None:
            yield Violation("lost", now.id, f"succeeded, and its result cannot be read: {now.error}")
        elif now.pixels not in right:
            yield Violation("wrong-result", now.id, f"got pixels {now.pixels[:12]}, expected one of {sorted(right)}")
        if known.canceled == "yes" and not terms.replicated:
            yield Violation("uncanceled", now.id, "the cancel was accepted, and the job succeeded")
    elif now.state == "canceled":
        if known.canceled == "no" and known.deleted == "no":
            yield Violation("canceled", now.id, "canceled by nobody")
    elif now.state == "failed":
        words = EXPLAINED_FAILURES.get(now.code or "", ())
        if emptied and now.code == "input-missing":
            return
        if not any(word in fault for word in words for fault in terms.faults):
            yield Violation("failed", now.id, f"failed with {now.code}, which no fault explains")
    else:
        yield Violation("expired", now.id, "expired without a deadline")


def _orders(model: Model, seen: Observed, terms: Terms) -> Iterator[Violation]:
    """An Idempotency-Key makes one job, however often it is sent; another request makes one for each time."""
    found = Counter(now.op for now in seen.jobs.values() if now.op)
    gone = Counter(known.op for job, known in model.jobs.items() if job not in seen.jobs)
    for op, order in model.orders.items():
        most = len(order.inputs) * (1 if order.idempotent else max(1, order.attempts))
        if order.idempotent and terms.replicated and not order.accepted:
            most *= max(1, order.attempts)
        if (got := found[op] + gone[op]) > most:
            yield Violation(
                "made-twice", op, f"{got} jobs of a request for {len(order.inputs)}, expected at most {most}"
            )


def _published_once(model: Model, seen: Observed, terms: Terms) -> Iterator[Violation]:
    """One final event for each job, one id of a webhook message, and counters that count every end once."""
    for now in seen.jobs.values():
        ends = [kind for _, kind in now.events if kind in FINAL_EVENTS]
        if len(ends) > 1:
            yield Violation("published-twice", now.id, f"it ended {len(ends)} times: {ends}")
        elif now.state in OVER and ends != [EVENT_OF_STATE[now.state]]:
            yield Violation("event-missing", now.id, f"{now.state}, and its stream ends with {ends}")
    messages: dict[str, set[str]] = {}
    for message, job in seen.webhooks:
        messages.setdefault(job, set()).add(message)
    for job, ids in messages.items():
        if len(ids) > 1:
            yield Violation("published-twice", job, f"webhooks with the ids {sorted(ids)}")
    if not seen.ended or terms.replicated:
        return
    gone = sum(job not in seen.jobs for job in model.jobs)
    over = Counter(now.state for now in seen.jobs.values() if now.state in OVER)
    counted, least = sum(seen.ended.values()), sum(over.values()) + gone
    # A batch that broke off may have jobs that end before they are removed
    unknown = sum(
        len(order.inputs) * (order.attempts - bool(order.accepted))
        for order in model.orders.values()
        if not order.accepted or len(order.inputs) > 1
    )
    if not least <= counted <= least + unknown:
        rule = "published-twice" if counted > least else "uncounted"
        yield Violation(rule, "counters", f"{counted} ends were counted, expected {least}")


def _readers(model: Model, seen: Observed, terms: Terms) -> Iterator[Violation]:
    """A reader that comes back with Last-Event-ID misses no event, and sees none twice."""
    for name, reader in model.readers.items():
        ids = [_order(number) for number, _ in reader.events]
        if any(later <= earlier for earlier, later in pairwise(ids)):
            yield Violation(
                "events-disorder", reader.job, f"reader {name} saw {[number for number, _ in reader.events]}"
            )
        if sum(kind in FINAL_EVENTS for _, kind in reader.events) > 1:
            yield Violation("published-twice", reader.job, f"reader {name} saw its end twice: {reader.events}")
        now = seen.jobs.get(reader.job)
        if now is None or terms.replicated:
            continue
        expected = list(now.events) if reader.ended else list(now.events[: len(reader.events)])
        if reader.events != expected:
            yield Violation("events-gap", reader.job, f"reader {name} saw {reader.events}, expected {expected}")


def _order(number: str) -> tuple[int, int]:
    first, _, second = number.partition("-")
    return int(first), int(second or 0)


def _webhooks(model: Model, seen: Observed) -> Iterator[Violation]:
    """Every end with a webhook has arrived at least once."""
    arrived = {job for _, job in seen.webhooks}
    for job, now in seen.jobs.items():
        order = model.orders.get(now.op or "")
        if order is not None and order.webhook and now.state in OVER and job not in arrived:
            yield Violation("webhook-missing", job, f"{now.state}, and no webhook has arrived")


def _fetched(model: Model, terms: Terms) -> Iterator[Violation]:
    for job, pixels in model.results:
        known = model.jobs[job]
        if pixels != terms.pixels[known.input]:
            yield Violation("wrong-result", job, f"a client got pixels {pixels[:12]}")


def _leaks(seen: Observed) -> Iterator[Violation]:
    """Nothing stays of jobs that are gone, and no part keeps more files and processes than it needs."""
    for name in seen.blobs:
        yield Violation("leaked-blob", name, "in the store, and of no job")
    for key in seen.keys:
        yield Violation("leaked-key", key, "in Redis, and of no job")
    for stray in seen.strays:
        yield Violation("leaked-process", stray, "it runs, and belongs to no part")
    for surprise in seen.surprises:
        yield Violation("part-ended", surprise, "no fault has ended it")
    for part in seen.parts:
        most = seen.calm.get(part.kind, 0) + MORE_FILES
        if part.kind in seen.calm and part.files > most:
            yield Violation("leaked-files", part.name, f"{part.files} file descriptors, expected at most {most}")
        for kind, count in part.children:
            allowed = CHILDREN.get(part.kind, {}).get(kind, 0)
            if count > allowed:
                yield Violation("leaked-process", part.name, f"{count} children of the kind {kind}, expected {allowed}")


def _recovery(seen: Observed) -> Iterator[Violation]:
    if seen.usual_s is None or seen.recovered_s is None:
        return
    limit_s = max(RECOVERED_FACTOR * seen.usual_s, seen.usual_s + RECOVERED_EXTRA_S)
    if seen.recovered_s > limit_s:
        yield Violation(
            "slow", "latency", f"p95 {seen.recovered_s:.1f} s from 20 s after the last fault, expected {limit_s:.1f} s"
        )
