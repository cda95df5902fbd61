"""The two random streams."""

import random

import numpy as np

from models.training.data.wild.random_streams import RandomStreams


def test_the_streams_equal_those_of_the_seeded_modules():
    random.seed(11)
    np.random.seed(11)
    draws = RandomStreams(11)
    assert draws.choices.random() == random.random()
    assert draws.numbers.uniform(2, 3) == np.random.uniform(2, 3)
    np.testing.assert_array_equal(draws.numbers.permutation(["a", "b", "c"]), np.random.permutation(["a", "b", "c"]))
