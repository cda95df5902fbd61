"""Growing pauses between attempts to reach a server that is away."""


class Backoff:
    """Pauses that start at `first_s` and double up to `longest_s`.

    The caller waits: one caller sleeps, another may stop waiting when its process ends.
    """

    def __init__(self, first_s: float = 0.1, longest_s: float = 5.0) -> None:
        self.first_s, self.longest_s = first_s, longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Returns the pause before the next attempt, and doubles the one after it."""
        pause_s = self._next_s
        self._next_s = min(self.longest_s, 2 * pause_s)
        return pause_s

    def reset(self) -> None:
        """Start again with the shortest pause: an attempt succeeded."""
        self._next_s = self.first_s
