"""The three phases as a whole: odds, seeds and ranges."""

import random
from collections import Counter

import numpy as np
import pytest

from models.training.data.wild import WildConfig, degrade, degrade_rgb


@pytest.fixture(scope="module")
def many():
    """The words of 1500 small pictures."""
    image = np.random.RandomState(0).rand(24, 24, 3).astype(np.float32)
    return [degrade(image, seed).words for seed in range(1500)]


def test_a_seed_gives_the_same_picture_and_another_seed_another(picture):
    first, again, other = degrade(picture, 5), degrade(picture, 5), degrade(picture, 6)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.words == again.words
    assert not np.array_equal(first.image, other.image)


def test_the_global_generators_of_numpy_and_python_do_not_change(picture):
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].copy()
    degrade(picture, 3)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("seed", range(20))
def test_the_result_has_the_same_size_and_lies_on_the_8_bit_grid(picture, seed):
    image = degrade(picture, seed).image
    assert image.shape == picture.shape
    assert image.dtype == np.float32
    assert image.min() >= 0 and image.max() <= 1
    np.testing.assert_allclose(image * 255, np.rint(image * 255), atol=1e-4)


def test_words_have_the_published_frequencies(many):
    """Expected counts: phases (1, 2, 3) for noise .4 + .2, JPEG .4 + .4, blur .8 + .4 + .8 and 2 x .8."""
    count = Counter(word for words in many for word in words)
    assert count["noise"] / 1500 == pytest.approx(0.6, abs=0.06)
    assert count["jpeg block"] / 1500 == pytest.approx(0.8, abs=0.07)
    assert count["blur"] / 1500 == pytest.approx(3.6, abs=0.15)
    # sinc, else a Wiener filter at .1 where the kernel is of 5 or 7 px: 2 of 8 sizes, 2 of 3, 2 of 8
    ringing = 0.8 * (0.1 + 0.9 * 0.1 * 2 / 8) + 0.4 * (0.1 + 0.9 * 0.1 * 2 / 3) + 0.8 * (0.8 + 0.2 * 0.1 * 2 / 8)
    assert count["ringing artifact"] / 1500 == pytest.approx(ringing, abs=0.07)


def test_with_all_odds_at_zero_the_picture_is_only_rounded(picture):
    calm = WildConfig(blur=0, resize=0, noise=0, jpeg=0, under_display=0)
    done = degrade(picture, 0, calm)
    assert done.words == ()
    np.testing.assert_allclose(done.image, np.rint(picture * 255) / 255, atol=1e-6)


def test_both_resizes_happen_or_neither(picture):
    only = WildConfig(blur=0, noise=0, jpeg=0, under_display=0, resize=0.5)
    assert {degrade(picture, seed, only).words for seed in range(40)} == {(), ("blur", "blur")}


def test_rgb_is_the_same_picture_in_the_other_order(picture):
    rgb = degrade_rgb(picture[..., ::-1], 4).image
    np.testing.assert_array_equal(rgb, degrade(picture, 4).image[..., ::-1])
