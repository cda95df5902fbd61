"""Shares the room of a worker among the Redis servers from which it leases.

Each server has a lease loop of its own, so that one that does not answer delays no other.  Loops that have work take
turns: the one that was served longest ago goes first, and several get equal shares.  A loop whose line is empty, or
whose server is away, takes no part.
"""

import math
import time
from collections.abc import Callable, Hashable

RESERVED_S = 1.0
"""What a server was asked for and has not answered after this time is offered to the others."""
NOBODY: Hashable = None


class LeaseTurns:
    """The turns of the loops of one worker; with one loop, it always gets all the room.

    Attributes:
        several: whether the worker leases from more than one server.
        alone: the loop whose next job must run alone: the others wait until it has had its turn; else NOBODY.
    """

    def __init__(self, *, several: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.several, self.alone = several, NOBODY
        self._clock = clock
        self._wanting: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._asked: dict[Hashable, tuple[int, float]] = {}
        self._served: dict[Hashable, int] = {}
        self._turn = 0

    def share(self, loop: Hashable, room: int) -> int:
        """Returns for how many jobs a loop that wants some may ask now; 0: it is not its turn.

        Args:
            room: of the worker, without what other loops have asked for.
        """
        self._wanting.add(loop)
        self._refused.add(loop)
        if self.alone not in (NOBODY, loop):
            return 0
        left = room - self.in_flight(loop)
        others = [other for other in self._wanting - self._asked.keys() if other is not loop]
        before = sum(self._served.get(other, 0) < self._served.get(loop, 0) for other in others)
        if left <= before:
            return 0
        self._refused.discard(loop)
        return math.ceil(left / (len(others) + 1))

    def in_flight(self, loop: Hashable) -> int:
        """Returns how many jobs other loops have asked for lately."""
        now_s = self._clock()
        asked = (count for other, (count, until_s) in self._asked.items() if other is not loop and now_s < until_s)
        return sum(asked)

    def asks(self, loop: Hashable, count: int) -> None:
        """A loop asks its server for so many jobs."""
        self._asked[loop] = count, self._clock() + RESERVED_S

    def answered(self, loop: Hashable, leased: int, *, more: bool) -> bool:
        """A server has answered, or failed; `more`: it may have more jobs.

        Returns whether other loops have asked for a share in vain since the last answer.
        """
        self._asked.pop(loop, None)
        if leased:
            self._turn += 1
            self._served[loop] = self._turn
        if not more:
            self.rests(loop)
        refused, self._refused = self._refused - {loop}, set()
        return bool(refused)

    def rests(self, loop: Hashable) -> None:
        """A loop wants no jobs until it asks for its share again."""
        self._wanting.discard(loop)
        if self.alone is loop:
            self.alone = NOBODY

    def leaves(self, loop: Hashable) -> None:
        """A loop has ended."""
        self.rests(loop)
        self._asked.pop(loop, None)
        self._served.pop(loop, None)
