"""Random lives of jobs on two shards agree with the model, and each script that changes a job is run."""

from collections.abc import Callable, Iterator
from functools import partial

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from life_on_shards import Life
from script_rules import DELIVERIES, RUN_BY_RULES

from jobs.lua_scripts import LuaScripts
from jobs.state import State


def test_any_life_of_jobs_on_two_shards_agrees_with_the_model(valkey_url):
    machine = type("LifeOnTwoShards", (Life,), {"url": valkey_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10, stateful_step_count=30, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def test_a_life_with_every_rule_runs_each_script_that_changes_a_job(valkey_url, monkeypatch):
    """Random lives are short, and may miss a rule."""
    ran: set[str] = set()
    for method in ("run", "run_replicated"):
        monkeypatch.setattr(LuaScripts, method, _noted(getattr(LuaScripts, method), ran))
    life = type("LifeOnTwoShards", (Life,), {"url": valkey_url})()
    seen: set[State] = set()
    try:
        for rule_of_life in _every_rule(life):
            rule_of_life()
            seen |= set(life.state.values())
            life.each_job_is_on_its_shard_and_in_its_state()
    finally:
        life.teardown()
    assert seen == set(State)
    assert ran == RUN_BY_RULES | DELIVERIES


def _every_rule(life: Life) -> Iterator[Callable[[], None]]:
    yield from [partial(life.submit, "standard", hooked=True)] * 6
    yield from [partial(life.submit_batch, 1), partial(life.submit, "bulk", hooked=False)]
    yield partial(life.a_deadline_passes, 0)
    for shard, token in ((0, "a"), (1, "b"), (1, "a")):
        yield partial(life.lease, shard, token, 2)
    for number in range(len(life.jobs)):
        yield partial(life.begin, number, "a")
    for shard in (0, 1):
        yield partial(life.renew, "a", shard)
    held = [number for number in range(len(life.jobs)) if life.holds(life.pick(number), "a")]
    yield partial(life.commit, held[0], "a")
    yield partial(life.cancel, held[1])
    yield partial(life.release, "a", held[1], died=False)
    yield partial(life.an_answer_to_a_lease_is_lost, "a", held[2])
    for token in ("b", "c"):  # a worker that holds no other job: this one must run alone after its first death
        others = [number for number in range(len(life.jobs)) if life.holds(life.pick(number), token)]
        yield partial(life.a_lease_ends, others[0])
        yield partial(life.lease, 1, "c", 1)
    yield from [partial(life.pause_and_resume, "standard"), partial(life.a_shard_goes_away_or_comes_back, 1)]
    yield from [partial(life.send, shard, "a") for shard in (0, 1)]
    yield from [partial(life.redeliver, 0), partial(life.send, 0, "b"), partial(life.send, 1, "b")]
    yield from [partial(life.read_the_lists, state) for state in State]
    yield from [partial(life.cancel, 0), partial(life.a_shard_goes_away_or_comes_back, None)]
    yield partial(life.read_the_lists, State.QUEUED)
    yield from [partial(life.read_with_its_result, number) for number in range(len(life.jobs))]
    queued = [number for number in range(len(life.jobs)) if life.state[life.pick(number)] is State.QUEUED]
    yield from [partial(life.purge, queued[0]), partial(life.forget, 0), partial(life.forget_batch, 0)]


def _noted(run, ran):
    """Returns `run` of the scripts, which notes their names."""

    def run_noted(self, script, *arguments, **named):
        ran.add(script)
        return run(self, script, *arguments, **named)

    return run_noted
