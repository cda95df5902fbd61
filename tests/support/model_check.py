"""Explores a model whole, breadth first: every state that can be reached, by the shortest way."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
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
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        if why := complaint(state):
            found.fault = (why, state)
            return found
        for step, after in steps(state):
            if not step.fault:
                found.before.setdefault(after, []).append(state)
            if after not in found.ways:
                found.ways[after] = (step, state)
                waiting.append(after)
        assert len(found.ways) <= LIMIT, "the model is not small"
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
