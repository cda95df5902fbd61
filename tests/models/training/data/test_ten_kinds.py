"""The ten kinds by their words; shadows and holes, which are new."""

import numpy as np
import pytest

from models.training.data.degradations.masks import COVER, hole_mask, incomplete
from models.training.data.degradations.shadow import shadow
from models.training.data.degradations.daclip_synthesizers import DACLIP_SYNTHESIZERS, damaged
from models.vocabulary import DACLIP_WORDS


@pytest.fixture(scope="module")
def clean():
    rows, columns = np.mgrid[:96, :128]
    base = 0.55 + 0.15 * np.sin(rows / 5) + 0.15 * np.cos(columns / 7)
    return np.stack([base, 0.9 * base, 0.8 * base], axis=-1).astype(np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_words_are_the_published_ones_in_their_order():
    assert tuple(DACLIP_SYNTHESIZERS) == DACLIP_WORDS


@pytest.mark.parametrize("word", DACLIP_WORDS)
def test_every_kind_damages_visibly_and_is_reproducible(clean, word):
    first, again = damaged(word, clean, rng(1)), damaged(word, clean, rng(1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == clean.shape and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 1
    assert np.sqrt(np.mean((first - clean) ** 2)) > 1 / 255


@pytest.mark.parametrize("seed", range(12))
def test_a_shadow_only_darkens_and_leaves_a_part_as_it_was(clean, seed):
    shaded = shadow(clean, rng(seed))
    assert (shaded - clean).max() <= 1 / 255  # rounding
    lit = np.abs(shaded - clean).max(axis=-1) < 2 / 255
    assert 0.2 < lit.mean() < 0.97
    dark = (shaded.mean(axis=-1) / clean.mean(axis=-1)).min()
    assert 0.25 < dark < 0.9  # of display values: light falls to 0.15 .. 0.6, and **(1 / 2.2)


def test_shadows_are_bluer_than_the_light():
    gray = np.full((64, 64, 3), 0.5, np.float32)
    casts = [float((shaded[..., 2] - shaded[..., 0]).max()) for shaded in (shadow(gray, rng(s)) for s in range(30))]
    assert np.mean(casts) > 0.005


@pytest.mark.parametrize("seed", range(20))
def test_holes_cover_as_much_as_they_may(seed):
    cover = hole_mask((96, 128), rng(seed)).mean()
    assert COVER[0] * 0.5 < cover <= COVER[1]


def test_holes_are_white_and_the_rest_is_untouched(clean):
    found, mask = incomplete(clean, rng(3)), hole_mask(clean.shape[:2], rng(3))
    np.testing.assert_array_equal(found[mask], 1.0)
    np.testing.assert_allclose(found[~mask], clean[~mask], atol=0.5 / 255 + 1e-6)
