"""All nine kinds: size, range, seeds, and the strength of the damage."""

import numpy as np
import pytest

from models.training.data.degradations import PHYSICAL_ORDER, SYNTHESIZERS
from models.vocabulary import DEGRADATIONS

KINDS = list(SYNTHESIZERS)

# The mean input PSNR (dB) that 40 draws of a textured picture may have; the published test sets lie inside.
PLAUSIBLE_DB = {
    "noise": (20, 32),
    "blur": (18, 32),
    "rain": (16, 29),
    "low-light": (5, 15),
    "haze": (9, 20),
    "low-resolution": (18, 32),
    "raindrop": (17, 30),
    "jpeg": (21, 33),
    "snow": (14, 29),
}


def test_every_kind_is_a_word_of_the_vocabulary_and_has_a_place_in_the_physical_order():
    assert set(KINDS) <= {degradation.name for degradation in DEGRADATIONS}
    assert sorted(PHYSICAL_ORDER) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (97, 32), (128, 128)])
def test_a_degraded_picture_keeps_size_type_and_range_and_the_input_is_untouched(kind, shape, picture):
    clean = picture(*shape)
    clean.flags.writeable = False
    for seed in range(12):
        degraded = SYNTHESIZERS[kind](clean, np.random.default_rng(seed))
        assert degraded.shape == clean.shape and degraded.dtype == np.float32
        assert degraded.min() >= 0 and degraded.max() <= 1  # False for NaN as well
        assert not np.shares_memory(degraded, clean)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_pictures_give_finite_values_in_range(kind, value):
    flat = np.full((40, 36, 3), value, np.float32)
    for seed in range(12):
        degraded = SYNTHESIZERS[kind](flat, np.random.default_rng(seed))
        assert np.isfinite(degraded).all() and degraded.min() >= 0 and degraded.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(kind, picture):
    clean = picture()
    first, again, other = (SYNTHESIZERS[kind](clean, np.random.default_rng([7, seed])) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_damage_has_a_plausible_strength(kind, picture, psnr):
    clean = picture(128, 128)
    draws = [psnr(SYNTHESIZERS[kind](clean, np.random.default_rng(seed)), clean) for seed in range(40)]
    low, high = PLAUSIBLE_DB[kind]
    assert low < np.mean(draws) < high
    assert np.std(draws) > 0.8  # each kind has many strengths


def test_haze_lowers_contrast(picture):
    clean = picture(128, 128)
    for seed in range(20):
        assert SYNTHESIZERS["haze"](clean, np.random.default_rng(seed)).std() < clean.std()


def test_blur_never_sharpens(picture):
    clean = picture(128, 128)
    for seed in range(20):
        blurred = SYNTHESIZERS["blur"](clean, np.random.default_rng(seed))
        assert np.abs(np.diff(blurred, axis=1)).mean() < np.abs(np.diff(clean, axis=1)).mean()


@pytest.mark.parametrize("kind", ["rain", "snow"])
def test_rain_and_snow_brighten_a_dark_scene(kind):
    dark = np.full((64, 64, 3), 0.2, np.float32)
    for seed in range(20):
        assert SYNTHESIZERS[kind](dark, np.random.default_rng(seed)).min() >= 0.2 - 1 / 255


def test_raindrops_leave_a_part_of_the_scene_unchanged(picture):
    clean = np.rint(picture(128, 128) * 255).astype(np.float32) / 255
    for seed in range(20):
        degraded = SYNTHESIZERS["raindrop"](clean, np.random.default_rng(seed))
        untouched = (np.abs(degraded - clean).max(axis=2) < 2 / 255).mean()
        assert 0.05 < untouched < 0.99


def test_low_light_pictures_are_dark_on_average(picture):
    clean = picture(64, 64)
    means = [SYNTHESIZERS["low-light"](clean, np.random.default_rng(seed)).mean() for seed in range(60)]
    assert 0.02 < np.median(means) < 0.12  # LOL's short exposures: 0.03..0.10


def test_a_low_frequency_picture_survives_low_resolution(psnr):
    axis = np.linspace(0, np.pi, 128, dtype=np.float32)
    smooth = np.repeat((0.5 + 0.4 * np.cos(axis)[:, None] * np.cos(axis)[None, :])[..., None], 3, axis=2)
    for seed in range(15):
        assert psnr(SYNTHESIZERS["low-resolution"](smooth, np.random.default_rng(seed)), smooth) > 38
