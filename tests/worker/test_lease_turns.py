"""The room of a worker is shared by the loops of its servers; none starves, and one that hangs holds it for 1 s."""

from hypothesis import given
from hypothesis import strategies as st

from worker.lease_turns import RESERVED_S, LeaseTurns


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def turns_of(*loops: str) -> tuple[LeaseTurns, Clock]:
    """Turns at which each of these loops wants jobs."""
    clock = Clock()
    turns = LeaseTurns(several=True, clock=clock)
    for loop in loops:
        turns.share(loop, 0)
    return turns, clock


def test_one_loop_always_gets_all_the_room():
    turns, _ = turns_of("a")
    assert [turns.share("a", room) for room in (1, 7)] == [1, 7]


def test_loops_that_want_jobs_at_the_same_time_get_equal_shares():
    turns, _ = turns_of("a", "b")
    assert turns.share("a", 8) == 4
    turns.asks("a", 4)
    assert turns.share("b", 8) == 4


@given(st.integers(2, 5), st.lists(st.integers(1, 3), min_size=20, max_size=40))
def test_no_loop_with_work_starves(count, rooms):
    """Even where the same one always asks first, nobody waits longer than two turns of all the others."""
    loops = [f"loop-{number}" for number in range(count)]
    turns, _ = turns_of(*loops)
    served: list[str] = []
    for room in rooms:
        left = room
        for loop in loops:
            if turns.share(loop, left) > 0:
                turns.asks(loop, 1)
                turns.answered(loop, 1, more=True)
                served.append(loop)
                left -= 1
    window = 2 * count
    for start in range(len(served) - window + 1):
        assert set(served[start : start + window]) == set(loops)


def test_a_server_that_does_not_answer_holds_its_share_for_a_second_only():
    turns, clock = turns_of("a")
    turns.asks("a", 8)
    assert turns.share("b", 8) == 0
    clock.now_s = RESERVED_S
    assert turns.share("b", 8) == 8


def test_a_loop_without_work_leaves_its_share_to_the_others():
    turns, _ = turns_of("a", "b")
    turns.answered("b", 0, more=False)
    assert turns.share("a", 8) == 8


def test_the_others_wait_while_the_next_job_of_a_loop_must_run_alone():
    turns, _ = turns_of("a", "b")
    turns.alone = "a"
    assert turns.share("b", 8) == 0 and turns.share("a", 8) > 0
    turns.answered("a", 1, more=False)
    assert turns.share("b", 8) > 0


def test_an_answer_tells_whether_others_were_refused_a_share_meanwhile():
    turns, _ = turns_of("a")
    assert turns.share("a", 2) == 2
    turns.asks("a", 2)
    assert turns.share("b", 2) == 0
    assert turns.answered("a", 0, more=False)
    assert turns.share("b", 2) == 2
    turns.asks("b", 2)
    assert not turns.answered("b", 0, more=False), "nobody was"
