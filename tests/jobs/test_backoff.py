"""The pauses between attempts."""

from jobs.backoff import Backoff


def test_pauses_double_up_to_the_longest():
    backoff = Backoff(first_s=0.5, longest_s=3.0)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_success_starts_again_with_the_shortest_pause():
    backoff = Backoff(first_s=0.5, longest_s=3.0)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.5
