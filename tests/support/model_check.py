"""Explores a model whole, breadth first: every state that can be reached, by the shortest way."""

import gc
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LIMIT = 3_000_000


@dataclass
class Exploration:
    """Each state with the step and the state before it.  `before`: the states that lead here without a fault."""

    ways: dict[Hashable, tuple[Any, Hashable] | None]
    before: dict[Hashable, list[Hashable]] = field(default_factory=dict)
    fault: tuple[str, Hashable] | None = None

    def trace(self, state: Hashable) -> list[tuple[Any, Any]]:
        """Returns the shortest way to a state: each step with the state after it."""
        steps = []
        while (way := self.ways[state]) is not None:
            steps.append((way[0], state))
            state = way[1]
        return steps[::-1]

    def story(self) -> str:
        """Returns what went wrong, and the steps that lead there."""
        if self.fault is None:
            return "no fault"
        why, state = self.fault
        return "\n".join([why, *(f"  {number}. {step}" for number, (step, _) in enumerate(self.trace(state), 1))])


def explore(
    first: Hashable,
    steps: Callable[[Any], Iterable[tuple[Any, Any]]],
    complaint: Callable[[Any], str | None],
    is_end: Callable[[Any], bool],
) -> Exploration:
    """Explore until a state has a complaint, or until there is no other state.

    Then check that an end can be reached from each state without another fault (`step.fault`).

    Raises:
        AssertionError: there are more than LIMIT states, so the model is not small.
    """
    found = Exploration({first: None})
    with _without_collector():
        _reach_all(found, steps, complaint)
    if found.fault is not None:
        return found
    ends = [state for state in found.ways if is_end(state)]
    reaches = set(ends)
    while ends:
        for state in found.before.get(ends.pop(), ()):
            if state not in reaches:
                reaches.add(state)
                ends.append(state)
    stuck = next((state for state in found.ways if state not in reaches), None)
    if stuck is not None:
        found.fault = ("no end can be reached any more", stuck)
    return found


def _reach_all(
    found: Exploration,
    steps: Callable[[Any], Iterable[tuple[Any, Any]]],
    complaint: Callable[[Any], str | None],
) -> None:
    waiting = deque(found.ways)
    ways, before = found.ways, found.before
    while waiting:
        state = waiting.popleft()
        if why := complaint(state):
            found.fault = (why, state)
            return
        for step, after in steps(state):
            if after not in ways:
                ways[after] = (step, state)
                waiting.append(after)
            if not step.fault:
                before.setdefault(after, []).append(state)
        assert len(ways) <= LIMIT, "the model is not small"


@contextmanager
def _without_collector() -> Iterator[None]:
    """States are in no circles, so that the collector would only look at all of them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
