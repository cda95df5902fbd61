"""The checker of `make chaos` finds what is planted into a run without faults, and its schedules repeat and shrink."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
JOB, CANCELED, DELETED, UNANSWERED = (f"{number:032x}" for number in range(1, 5))


JOURNAL = [
    {"what": "order", "op": "o1", "inputs": [0], "idempotent": True, "webhook": True},
    {"what": "sent", "op": "o1"},
    {"what": "sent", "op": "o1"},
    {"what": "accepted", "op": "o1", "jobs": [JOB]},
    {"what": "seen", "reader": "r", "job": JOB, "events": [["5-0", "queued"]], "ended": False},
    {"what": "seen", "reader": "r", "job": JOB, "events": [["6-0", "detected"], ["6-1", "completed"]], "ended": True},
    {"what": "result", "job": JOB, "pixels": "right-0"},
    {"what": "order", "op": "o2", "inputs": [1], "idempotent": False, "webhook": False},
    {"what": "sent", "op": "o2"},
    {"what": "accepted", "op": "o2", "jobs": [CANCELED]},
    {"what": "canceled", "job": CANCELED, "sure": "yes"},
    {"what": "order", "op": "o3", "inputs": [1], "idempotent": False, "webhook": False},
    {"what": "sent", "op": "o3"},
    {"what": "accepted", "op": "o3", "jobs": [DELETED]},
    {"what": "deleted", "job": DELETED, "sure": "yes"},
    {"what": "order", "op": "o4", "inputs": [1], "idempotent": False, "webhook": False},
    {"what": "sent", "op": "o4"},
]
EVENTS = (("5-0", "queued"), ("6-0", "detected"), ("6-1", "completed"))


def seen_run():
    """Returns what is observed after a run in which all went well; o4 was queued, and its answer was lost."""
    from chaos_run.records import Observed, PartFacts, SeenJob

    jobs = [
        SeenJob(JOB, "o1", "succeeded", pixels="right-0", events=EVENTS, registries=("finished",)),
        SeenJob(CANCELED, "o2", "canceled", events=(("7-0", "canceled"),), registries=("canceled",)),
        SeenJob(
            UNANSWERED, "o4", "succeeded", pixels="right-1", events=(("8-0", "completed"),), registries=("finished",)
        ),
    ]
    return Observed(
        jobs={job.id: job for job in jobs}, webhooks=[(f"msg_{JOB}_1", JOB)] * 2,
        ended={"succeeded": 3, "canceled": 1}, calm={"worker": 40},
        parts=[PartFacts("worker-0", "worker", 44, (("engine", 1), ("decoder", 2), ("tracker", 1)))],
        usual_s=1.0, recovered_s=2.5,
    )  # fmt: skip


def rules(change=lambda seen: None, journal=JOURNAL, **terms):
    """Returns the rules that are broken after a change of what is observed."""
    from chaos_run.invariants import Terms, violations
    from chaos_run.records import read_journal

    seen = seen_run()
    change(seen)
    model = read_journal(json.dumps(line) for line in journal)
    return [each.rule for each in violations(model, seen, Terms(pixels={0: "right-0", 1: "right-1"}, **terms))]


def job(number=JOB, **changes):
    """Returns a change of one job."""

    def change(seen):
        seen.jobs[number] = replace(seen.jobs[number], **changes)

    return change


def gone(number):
    return lambda seen: seen.jobs.pop(number)


def test_a_run_without_faults_breaks_no_promise():
    assert rules() == []


PLANTED = {
    "an accepted job is gone": (gone(JOB), "lost"),
    "an accepted job never ends": (job(state="running", events=EVENTS[:2], registries=()), "lost"),
    "a job whose answer was lost never ends": (job(UNANSWERED, state="queued", events=(), registries=()), "lost"),
    "a result cannot be read": (job(pixels=None, error="404"), "lost"),
    "a result is that of another input": (job(pixels="right-1"), "wrong-result"),
    "a job ends twice": (job(events=(*EVENTS, ("7-0", "completed"))), "published-twice"),
    "a job has two webhooks": (lambda seen: seen.webhooks.append((f"msg_{JOB}_2", JOB)), "published-twice"),
    "an end is counted twice": (lambda seen: seen.ended.update(succeeded=6), "published-twice"),
    "an end is not counted": (lambda seen: seen.ended.update(succeeded=1), "uncounted"),
    "a job has no last event": (job(UNANSWERED, events=()), "event-missing"),
    "a job is in two registries": (job(registries=("finished", "failed")), "two-states"),
    "a job is in no registry": (job(registries=()), "two-states"),
    "a reader missed an event": (job(events=(EVENTS[0], ("5-1", "queued"), *EVENTS[1:])), "events-gap"),
    "a webhook never came": (lambda seen: seen.webhooks.clear(), "webhook-missing"),
    "a canceled job succeeds": (
        job(CANCELED, state="succeeded", pixels="right-1", events=EVENTS, registries=("finished",)), "uncanceled",
    ),
    "a deleted job is there": (
        lambda seen: seen.jobs.update({DELETED: replace(seen.jobs[UNANSWERED], id=DELETED, op="o3")}), "undeleted",
    ),
    "a job fails for no reason": (
        job(state="failed", code="internal-error", pixels=None, events=(("6-0", "failed"),), registries=("failed",)),
        "failed",
    ),
    "a request is queued twice": (
        lambda seen: seen.jobs.update({"f" * 32: replace(seen.jobs[JOB], id="f" * 32)}), "made-twice",
    ),
    "a job comes from nowhere": (
        lambda seen: seen.jobs.update({"f" * 32: replace(seen.jobs[JOB], id="f" * 32, op=None)}), "unknown-job",
    ),
    "a blob stays": (lambda seen: seen.blobs.append(f"{JOB}/result"), "leaked-blob"),
    "a Redis key stays": (lambda seen: seen.keys.append(f"undegrade:job:{JOB}"), "leaked-key"),
    "a process stays": (lambda seen: seen.strays.append("17 python"), "leaked-process"),
    "a part ends by itself": (lambda seen: seen.surprises.append("api-0"), "part-ended"),
    "a part keeps files open": (
        lambda seen: seen.parts.append(replace(seen.parts[0], files=400, children=())), "leaked-files",
    ),
    "a worker has two engines": (
        lambda seen: seen.parts.append(replace(seen.parts[0], children=(("engine", 2),))), "leaked-process",
    ),
    "jobs stay slow": (lambda seen: setattr(seen, "recovered_s", 3.1), "slow"),
    "no job succeeds any more": (lambda seen: setattr(seen, "recovered_s", math.inf), "slow"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "rule"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_found(change, rule):
    assert rule in rules(change)


def test_a_reader_that_sees_an_event_again_or_earlier_ones_later_is_found():
    again = [*JOURNAL, {"what": "seen", "reader": "r", "job": JOB, "events": [["6-1", "completed"]], "ended": True}]
    assert {"events-disorder", "published-twice"} <= set(rules(journal=again))


def test_a_client_that_got_a_wrong_picture_is_found_although_the_job_is_deleted():
    journal = [*JOURNAL, {"what": "result", "job": DELETED, "pixels": "right-0"}]
    assert rules(journal=journal) == ["wrong-result"]


@pytest.mark.parametrize(
    ("code", "faults", "broken"),
    [
        ("poison-suspected", {"kill-worker"}, []), ("poison-suspected", {"store-full"}, ["failed"]),
        ("storage-full", {"store-full"}, []), ("not-finite", {"kill-worker", "store-full"}, ["failed"]),
    ],
)  # fmt: skip
def test_a_failure_needs_a_fault_that_explains_it(code, faults, broken):
    failed = job(UNANSWERED, state="failed", code=code, events=(("8-0", "failed"),), registries=("failed",))
    assert rules(failed, faults=frozenset(faults)) == broken


def test_a_failover_may_lose_a_cancel_but_no_accepted_job():
    late = job(CANCELED, state="succeeded", pixels="right-1", events=(("7-0", "completed"),), registries=("finished",))
    assert rules(late, replicated=True) == []
    assert rules(gone(JOB), replicated=True) == ["lost"]
    failed = {
        "state": "failed", "code": "input-missing", "pixels": None, "events": (("7-0", "failed"),),
        "registries": ("failed",),
    }  # fmt: skip
    assert rules(job(CANCELED, **failed), replicated=True) == [], "its input went with the cancel"
    assert rules(job(CANCELED, **failed)) == ["failed"]
    assert rules(job(UNANSWERED, **failed), replicated=True) == ["failed"]


def test_a_failover_may_bring_back_jobs_of_a_batch_that_was_refused_halfway():
    batch = [{**line, "inputs": [1, 1]} if line["what"] == "order" and line["op"] == "o4" else line for line in JOURNAL]
    emptied = job(UNANSWERED, pixels=None, error="410 gone")
    assert rules(emptied, journal=batch, replicated=True) == []
    assert rules(emptied, replicated=True) == ["lost"] and rules(emptied, journal=batch) == ["lost"]
    assert rules(lambda seen: seen.blobs.append("b"), replicated=True) == ["leaked-blob"]


ALL = ("one-redis", "links", "store-disk", "redis-disk", "clock")


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
def test_a_seed_repeats_its_faults_and_a_file_keeps_them(tmp_path_factory, seed, count):
    from chaos_run.schedule import KINDS, draw, read_schedule, write_schedule

    faults = draw(seed, 3, count, ALL)
    assert faults == draw(seed, 3, count, ALL) and len(faults) == count
    for fault in faults:
        kind = KINDS[fault.kind]
        assert kind.needs <= set(ALL) and 0 <= fault.target < kind.targets and 0 <= fault.at_s <= 180
        assert kind.lasts_s[0] <= fault.lasts_s <= kind.lasts_s[1]
    path = tmp_path_factory.mktemp("schedule") / "faults.jsonl"
    write_schedule(path, faults)
    assert read_schedule(path) == faults


def test_every_kind_of_fault_is_drawn_and_can_be_injected():
    from chaos_run.faults import Faults
    from chaos_run.schedule import KINDS, draw

    assert {fault.kind for fault in draw(1, 3, 3000, {*ALL, "sentinel", "store-front"})} == set(KINDS)
    assert set(Faults(None, 1)._kinds) == set(KINDS)


@pytest.mark.parametrize(
    "line", ["{}", "nothing", '{"at_s": 1, "kind": "kill-api", "target": 9, "lasts_s": 1}', '{"kind": "rain"}']
)
def test_a_bad_schedule_names_its_line(tmp_path, line):
    from chaos_run.schedule import read_schedule

    path = tmp_path / "faults.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1: expected a fault"):
        read_schedule(path)


@settings(deadline=None)
@given(count=st.integers(2, 40), data=st.data())
def test_shrinking_keeps_exactly_the_faults_that_are_needed_together(count, data):
    from chaos_run.schedule import draw
    from chaos_run.shrink import shrink

    faults = draw(3, 5, count, ALL)
    needed = data.draw(st.sets(st.sampled_from(faults), min_size=1, max_size=3))
    assert set(shrink(faults, lambda some: needed <= set(some), lambda: True)) == needed


def test_shrinking_stops_when_its_time_is_over():
    from chaos_run.schedule import draw
    from chaos_run.shrink import shrink

    faults = draw(3, 5, 20, ALL)
    assert shrink(faults, lambda some: True, lambda: False) == faults


def test_the_program_explains_itself_and_refuses_what_it_does_not_know():
    program = [sys.executable, str(BENCHMARKS / "chaos.py")]
    shown = subprocess.run([*program, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--shrink-minutes" in shown and "10000" in shown
    refused = subprocess.run([*program, "--only", "rain"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "got rain, expected some of kill-api" in refused.stderr


@pytest.mark.parametrize(("more", "found"), [(0, []), (2, []), (4, ["published-twice"])])
def test_jobs_of_a_batch_that_broke_off_may_have_ended_before_they_are_removed(more, found):
    """Up to two jobs of the first try; and the request whose answer was lost (o4) may have made one more."""
    from chaos_run.records import SeenJob

    jobs = ["b" * 32, "c" * 32]
    journal = [
        *JOURNAL, {"what": "order", "op": "o5", "inputs": [0, 0], "idempotent": True, "webhook": False},
        *[{"what": "sent", "op": "o5"}] * 2, {"what": "accepted", "op": "o5", "jobs": jobs},
    ]  # fmt: skip

    def change(seen, ids=jobs):
        for number in ids:
            seen.jobs[number] = SeenJob(
                number, "o5", "succeeded", pixels="right-0", events=EVENTS, registries=("finished",)
            )
        seen.ended["succeeded"] += 2 + more

    assert rules(change, journal=journal) == found
    assert "made-twice" in rules(lambda seen: change(seen, [*jobs, "d" * 32]), journal=journal)
