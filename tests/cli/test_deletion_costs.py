"""Which pods are marked as busy, and how rarely that is written."""

from hypothesis import given
from hypothesis import strategies as st

from cli.deletion_costs import BUSY, IDLE, DeletionCosts

IDLE_S = 15.0
HELD = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3))
HISTORIES = st.lists(st.tuples(st.floats(0.1, 30), HELD), max_size=30)


def written(costs, held, now_s):
    """Do a round whose patches all succeed; returns them."""
    changes = costs.changes(held, now_s)
    for pod, cost in changes.items():
        costs.written(pod, cost)
    return changes


def test_busy_pods_come_first_and_cost_more():
    assert list(DeletionCosts(IDLE_S).changes({"a": 0, "b": 2, "c": 0}, 0).items()) == [
        ("b", BUSY), ("a", IDLE), ("c", IDLE),
    ]  # fmt: skip
    assert BUSY > IDLE


def test_a_pod_that_takes_one_job_after_the_other_is_written_once():
    costs = DeletionCosts(IDLE_S)
    patches = [written(costs, {"a": number % 2}, 5.0 * number) for number in range(1, 50)]
    assert patches[0] == {"a": BUSY} and not any(patches[1:])


def test_a_write_that_failed_is_tried_again():
    costs = DeletionCosts(IDLE_S)
    assert costs.changes({"a": 1}, 0) == costs.changes({"a": 1}, 5) == {"a": BUSY}


@given(HISTORIES, st.sampled_from([0.0, IDLE_S]))
def test_what_is_written_is_true_at_every_moment(history, idle_s):
    """A pod is busy exactly if it holds a job, or held one within the last idle_s, since it was last absent."""
    costs, annotations, last_s, now_s = DeletionCosts(idle_s), {}, {}, 0.0
    for pause_s, held in history:
        now_s += pause_s
        last_s = {pod: now_s if jobs else last_s.get(pod) for pod, jobs in held.items()}
        annotations |= written(costs, held, now_s)
        for pod in held:
            recently = last_s[pod] is not None and now_s < last_s[pod] + idle_s
            assert annotations[pod] == (BUSY if held[pod] or recently else IDLE)
