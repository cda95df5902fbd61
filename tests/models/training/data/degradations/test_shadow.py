"""Cast shadows: they darken, leave a part unchanged, and are bluer than the light."""

import numpy as np
import pytest

from models.training.data.degradations.shadow import shadow


@pytest.mark.parametrize("seed", range(12))
def test_a_shadow_only_darkens_and_leaves_a_part_unchanged(waves, seed):
    shaded = shadow(waves, np.random.default_rng(seed))
    assert (shaded - waves).max() <= 1 / 255  # rounding
    lit = np.abs(shaded - waves).max(axis=-1) < 2 / 255
    assert 0.2 < lit.mean() < 0.97
    dark = (shaded.mean(axis=-1) / waves.mean(axis=-1)).min()
    assert 0.25 < dark < 0.9  # of display values: light falls to 0.15 .. 0.6, and **(1 / 2.2)


def test_shadows_are_bluer_than_the_light():
    gray = np.full((64, 64, 3), 0.5, np.float32)
    casts = [
        float((shaded[..., 2] - shaded[..., 0]).max())
        for shaded in (shadow(gray, np.random.default_rng(s)) for s in range(30))
    ]
    assert np.mean(casts) > 0.005
