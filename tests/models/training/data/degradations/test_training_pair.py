"""Training pairs: labels, targets, and the shares of kinds and of two kinds."""

from collections import Counter

import numpy as np
import pytest

from models.training.data.degradations import SYNTHESIZERS, Mixture, draw_pair
from models.vocabulary import CLEAN


def test_a_single_kind_is_labeled_and_its_target_is_the_clean_crop(picture):
    clean = picture(64, 64)
    for kind in SYNTHESIZERS:
        pair = draw_pair(clean, np.random.default_rng(3), Mixture(weights={kind: 1.0}))
        assert pair.label == kind and pair.labels == {kind: 1.0}
        np.testing.assert_array_equal(pair.target, pair.clean)
        assert np.abs(pair.clean - clean).max() <= 0.5 / 255 + 1e-6
        assert (pair.degraded != pair.clean).any()


def test_the_last_damage_of_two_is_removed_first(picture, psnr):
    clean, mixture = picture(64, 64), Mixture(weights={"haze": 1.0, "noise": 1.0}, two_kinds=1.0)
    pair = draw_pair(clean, np.random.default_rng(0), mixture)
    assert pair.label == "noise" and pair.labels == {
        "haze": 0.5,
        "noise": 0.5,
    }  # haze is in the air, noise on the sensor
    assert psnr(pair.target, pair.clean) < 30  # still hazy
    assert abs((pair.degraded - pair.target).mean()) < 0.02  # the last damage is noise, which has no mean


def test_invisible_damage_is_labeled_clean():
    gray = np.full((64, 64, 3), 0.5, np.float32)
    pair = draw_pair(gray, np.random.default_rng(0), Mixture(weights={"blur": 1.0}))
    assert pair.label == CLEAN and pair.labels == {CLEAN: 1.0}
    np.testing.assert_array_equal(pair.degraded, pair.target)


def test_kinds_and_pairs_of_kinds_have_their_shares(picture):
    clean, rng = picture(32, 32), np.random.default_rng(5)
    mixture = Mixture(weights={CLEAN: 2.0, "noise": 1.0, "jpeg": 1.0}, two_kinds=0.3)
    pairs = [draw_pair(clean, rng, mixture) for _ in range(800)]
    counts = Counter(len(pair.labels) if pair.label != CLEAN else 0 for pair in pairs)
    assert counts[0] / 800 == pytest.approx(0.5, abs=0.06)
    assert counts[2] / 800 == pytest.approx(0.15, abs=0.045)
    assert all(sum(pair.labels.values()) == pytest.approx(1) for pair in pairs)


def test_the_second_kind_is_drawn_from_its_own_weights(picture):
    clean, rng = picture(32, 32), np.random.default_rng(5)
    mixture = Mixture(weights={"haze": 1.0, "low-light": 1.0}, two_kinds=1.0, second_weights={"noise": 1.0})
    pairs = [draw_pair(clean, rng, mixture) for _ in range(30)]
    assert {tuple(sorted(pair.labels)) for pair in pairs} == {("haze", "noise"), ("low-light", "noise")}
    assert {pair.label for pair in pairs} == {"noise"}


def test_a_pair_is_a_function_of_its_seed(picture):
    clean = picture(64, 64)
    for seed in range(10):
        first, again = (draw_pair(clean, np.random.default_rng(seed), Mixture(two_kinds=0.5)) for _ in range(2))
        assert first.labels == again.labels and first.degraded.tobytes() == again.degraded.tobytes()
