"""When an engine child counts as hanging."""

import pytest

from worker.messages import BatchStepped, Pong, Ready
from worker.watchdog import IDLE_S, SILENT_S, STOPPED_S, TURNS, Vitals, Watchdog


def ready(device="cpu"):
    return Ready(device=device, why="", bundles=())


def ticks(dog, seconds, busy=False, stopped=False, cpu_s=1.0):
    """Let seconds pass.  Returns the second at which the child was given up, or None."""
    for second in range(1, seconds + 1):
        cpu_s += 0.5 if busy else 0.0
        if dog.tick(1.0, Vitals(cpu_s, stopped)):
            return second
    return None


def loaded(device="cpu") -> Watchdog:
    dog = Watchdog()
    dog.heard(ready(device))
    return dog


def test_a_stopped_child_is_given_up_soon_also_while_it_loads():
    for dog in (Watchdog(), loaded()):
        assert ticks(dog, 60, stopped=True) == STOPPED_S


def test_a_child_that_continues_in_time_is_not_given_up():
    dog = loaded()
    for _ in range(20):
        assert ticks(dog, int(STOPPED_S) - 1, stopped=True) is None
        dog.heard(Pong())
        assert ticks(dog, 1) is None


def test_a_silent_child_without_processor_time_is_given_up():
    assert ticks(loaded(), 100) in (IDLE_S, IDLE_S + 1)


def test_an_idle_child_that_answers_pings_is_not_given_up():
    dog = loaded()
    for _ in range(200):
        dog.heard(Pong())
        assert ticks(dog, 2) is None


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_child_that_computes_gets_the_time_of_its_device(device):
    assert ticks(loaded(device), 2000, busy=True) == SILENT_S[device.partition(":")[0]]


def test_a_child_with_slow_turns_gets_many_of_them():
    dog = loaded()
    dog.heard(BatchStepped(bundle="", images=1, megapixels=1.0, seconds=100.0))
    assert ticks(dog, 5000, busy=True) == TURNS * 100.0
    dog.heard(Pong())
    assert ticks(dog, 5000) in (300, 301), "a turn may wait for its disk"


def test_loading_may_wait_for_a_slow_disk():
    assert ticks(Watchdog(), 120) is None


def test_a_sleep_of_the_whole_machine_is_not_silence():
    dog = loaded()
    for _ in range(5):
        assert dog.tick(36_000.0, Vitals(1.0, False)) is None
