"""What `map` of both clients shares: how many images are under way, in which order results leave, what errors do."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sized
from typing import Generic, Literal, TypeVar

from undegrade_client.errors import ConfigurationError, UndegradeError
from undegrade_client.views import Result

OnError = Literal["raise", "skip", "return"]
Outcome = Result | UndegradeError
T = TypeVar("T")
HELD_FACTOR = 4
"""In the order of the images, so many times the results of `jobs` may wait for an earlier one."""


class Window(Generic[T]):
    """Takes images from an iterable, as many at once as `jobs`, and gives their outcomes back in the wished order."""

    def __init__(self, images: Iterable[T], *, jobs: int, on_error: OnError, ordered: bool) -> None:
        if jobs < 1:
            raise ConfigurationError(f"got jobs={jobs}, expected at least 1.")
        if on_error not in ("raise", "skip", "return"):
            raise ConfigurationError(f"got on_error={on_error!r}, expected raise, skip or return.")
        self._images = enumerate(images)
        self._jobs, self._on_error, self._ordered = jobs, on_error, ordered
        self._under_way, self._next, self._drained = 0, 0, False
        self._held: list[tuple[int, Outcome]] = []
        self.total = len(images) if isinstance(images, Sized) else None

    def take(self) -> Iterator[tuple[int, T]]:
        """Yield the images to start now."""
        while not self._drained and self._under_way < self._jobs and len(self._held) < HELD_FACTOR * self._jobs:
            entry = next(self._images, None)
            if entry is None:
                self._drained = True
                return
            self._under_way += 1
            yield entry

    def put(self, index: int, outcome: Outcome) -> None:
        """Take the outcome of an image."""
        self._under_way -= 1
        heapq.heappush(self._held, (index, outcome))  # no two have one index, so outcomes are never compared

    def ready(self) -> Iterator[Outcome]:
        """Yield the outcomes whose turn it is.

        Raises:
            UndegradeError: one of them, with on_error="raise".
        """
        while self._held and (not self._ordered or self._held[0][0] == self._next):
            outcome = heapq.heappop(self._held)[1]
            self._next += 1
            if isinstance(outcome, Result) or self._on_error == "return":
                yield outcome
            elif self._on_error == "raise":
                raise outcome
