"""Pictures with holes."""

import numpy as np
import pytest

from models.training.data.degradations.masks import COVER, hole_mask, incomplete


@pytest.mark.parametrize("seed", range(20))
def test_holes_cover_a_share_within_the_limits(seed):
    cover = hole_mask((96, 128), np.random.default_rng(seed)).mean()
    assert COVER[0] * 0.5 < cover <= COVER[1]


def test_holes_are_white_and_the_rest_does_not_change(waves):
    found, mask = incomplete(waves, np.random.default_rng(3)), hole_mask(waves.shape[:2], np.random.default_rng(3))
    np.testing.assert_array_equal(found[mask], 1.0)
    np.testing.assert_allclose(found[~mask], waves[~mask], atol=0.5 / 255 + 1e-6)
