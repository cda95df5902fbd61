"""The ten kinds of DA-CLIP by their words."""

import numpy as np
import pytest

from models.training.data.degradations.daclip_synthesizers import DACLIP_SYNTHESIZERS, degrade
from models.vocabulary import DACLIP_WORDS


def test_the_words_are_the_published_ones_in_their_order():
    assert tuple(DACLIP_SYNTHESIZERS) == DACLIP_WORDS


@pytest.mark.parametrize("word", DACLIP_WORDS)
def test_every_kind_damages_visibly_and_is_reproducible(waves, word):
    first, again = degrade(word, waves, np.random.default_rng(1)), degrade(word, waves, np.random.default_rng(1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == waves.shape and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 1
    assert np.sqrt(np.mean((first - waves) ** 2)) > 1 / 255
