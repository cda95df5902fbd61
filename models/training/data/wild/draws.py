"""The two random streams of the published pipeline.

Its choices come from Python's `random`, its numbers from numpy's legacy `RandomState`; a seed means both.  Here they
are objects, not module state: the values are those of `random.seed(seed); numpy.random.seed(seed)`.
"""

import random

import numpy as np


class Draws:
    """What one picture's degradation draws from."""

    def __init__(self, seed: int) -> None:
        """`seed` from 0 to 2**32 - 1, as numpy's legacy generator wants it."""
        self.choices = random.Random(seed)
        self.numbers = np.random.RandomState(seed)

    def happens(self, probability: float) -> bool:
        """One draw of Python's stream."""
        return self.choices.random() < probability

    def uniform(self, low: float, high: float) -> float:
        """One draw of numpy's stream."""
        return float(self.numbers.uniform(low, high))
