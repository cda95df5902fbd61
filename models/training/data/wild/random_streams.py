"""The two random streams of the published pipeline.

Choices come from Python's `random`, numbers from numpy's legacy `RandomState`; one seed sets both.  Here they are
objects, not module state.  The values are those of `random.seed(seed); numpy.random.seed(seed)`.
"""

import random

import numpy as np


class RandomStreams:
    """The random streams of one picture."""

    def __init__(self, seed: int) -> None:
        """`seed` is from 0 to 2**32 - 1, the range of numpy's legacy generator."""
        self.choices = random.Random(seed)
        self.numbers = np.random.RandomState(seed)

    def happens(self, probability: float) -> bool:
        """Draw once from the Python stream; returns whether the event happens."""
        return self.choices.random() < probability

    def uniform(self, low: float, high: float) -> float:
        """Draw once from the numpy stream."""
        return float(self.numbers.uniform(low, high))
