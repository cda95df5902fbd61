"""The degradation synthesis against physics, Pillow, and its own promises."""

import io
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from models.psnr import psnr
from models.training.data.degradations import PHYSICAL_ORDER, SYNTHESIZERS, Mixture, draw_pair, quantize
from models.training.data.degradations.blur import camera_motion, convolve, disk_kernel, motion_kernel
from models.training.data.degradations.contact_sheet import contact_sheet
from models.training.data.degradations.haze import scatter
from models.training.data.degradations.jpeg import SAMPLING_420, SAMPLING_444, compress
from models.training.data.degradations.low_light import expose
from models.training.data.degradations.low_resolution import cubic_taps, resize_cubic
from models.training.data.degradations.rain import streak_kernel
from models.training.data.degradations.raindrop import refract
from models.training.data.degradations.sensor_noise import gaussian, photons
from models.vocabulary import CLEAN, DEGRADATIONS

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


def picture(height=96, width=80, seed=0):
    """Blobs, edges and some texture, mean about 0.45."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.random((6, 5, 3), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    image = np.ascontiguousarray(image * 0.7 + 0.1)
    for _ in range(12):
        x, y, size = (int(v) for v in rng.integers(0, min(height, width), 3))
        cv2.rectangle(image, (x, y), (x + size // 3, y + size // 4), rng.random(3).tolist(), -1)
    return np.clip(image + 0.04 * rng.standard_normal(image.shape, dtype=np.float32), 0, 1).astype(np.float32)


def test_every_kind_is_a_word_of_the_vocabulary_and_has_a_place_in_the_physical_order():
    assert set(KINDS) <= {degradation.name for degradation in DEGRADATIONS}
    assert sorted(PHYSICAL_ORDER) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (97, 32), (128, 128)])
def test_a_degraded_picture_keeps_size_type_and_range_and_the_input_is_untouched(kind, shape):
    clean = picture(*shape)
    clean.flags.writeable = False
    for seed in range(12):
        degraded = SYNTHESIZERS[kind](clean, np.random.default_rng(seed))
        assert degraded.shape == clean.shape and degraded.dtype == np.float32
        assert degraded.min() >= 0 and degraded.max() <= 1  # False for NaN as well
        assert not np.shares_memory(degraded, clean)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_pictures_are_no_trouble(kind, value):
    flat = np.full((40, 36, 3), value, np.float32)
    for seed in range(12):
        degraded = SYNTHESIZERS[kind](flat, np.random.default_rng(seed))
        assert np.isfinite(degraded).all() and degraded.min() >= 0 and degraded.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(kind):
    clean = picture()
    first, again, other = (SYNTHESIZERS[kind](clean, np.random.default_rng([7, seed])) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_damage_is_of_a_plausible_size(kind):
    clean = picture(128, 128)
    draws = [psnr(SYNTHESIZERS[kind](clean, np.random.default_rng(seed)), clean, peak=1) for seed in range(40)]
    low, high = PLAUSIBLE_DB[kind]
    assert low < np.mean(draws) < high
    assert np.std(draws) > 0.8  # a kind comes in many strengths


def test_most_pictures_lie_on_the_8_bit_grid():
    image = picture()
    on_grid = 0
    for seed in range(300):
        levels = quantize(image, np.random.default_rng(seed)) * 255
        on_grid += bool(np.abs(levels - np.rint(levels)).max() < 1e-4)
    assert 0.83 < on_grid / 300 < 0.96


def test_rounding_moves_a_value_by_half_a_level_at_most():
    image = picture()
    assert np.abs(quantize(image, np.random.default_rng(0), probability=1) - image).max() <= 0.5 / 255 + 1e-6


def test_gaussian_noise_has_the_standard_deviation_asked_for():
    gray = np.full((256, 256, 3), 0.5, np.float32)
    noise = gaussian(gray, 25 / 255, np.random.default_rng(0)) - gray
    assert noise.std() == pytest.approx(25 / 255, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.001)
    neighbors = np.corrcoef(noise[:, 1:, 0].ravel(), noise[:, :-1, 0].ravel())[0, 1]
    assert abs(neighbors) < 0.02  # white


def test_photon_noise_has_the_variance_of_a_poisson_count():
    for level in (0.1, 0.6):
        noisy = photons(np.full((200, 200, 3), level, np.float32), 100.0, np.random.default_rng(1))
        assert noisy.mean() == pytest.approx(level, rel=0.01)
        assert noisy.var() == pytest.approx(level / 100, rel=0.03)


def test_haze_obeys_the_scattering_model():
    clean, airlight = picture(), np.array([0.8, 0.85, 0.9], np.float32)
    hazy = scatter(clean, np.full(clean.shape[:2], 0.3, np.float32), airlight)
    np.testing.assert_allclose(hazy, 0.3 * clean + 0.7 * airlight, atol=1e-6)
    clear = scatter(clean, np.ones(clean.shape[:2], np.float32), airlight)
    np.testing.assert_allclose(clear, clean, atol=1e-6)


def test_haze_lowers_contrast():
    clean = picture(128, 128)
    for seed in range(20):
        assert SYNTHESIZERS["haze"](clean, np.random.default_rng(seed)).std() < clean.std()


@pytest.mark.parametrize("length_px", [4, 11, 32])
def test_motion_kernels_are_shares_of_light_centered_and_no_longer_than_the_motion(length_px):
    for seed in range(10):
        kernel = motion_kernel(np.random.default_rng(seed), length_px)
        assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.min() >= 0
        assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
        rows, columns = np.nonzero(kernel)
        assert np.hypot(np.ptp(rows), np.ptp(columns)) <= length_px + 3


def test_a_disk_kernel_sums_to_one_and_spreads_like_a_disk():
    kernel = disk_kernel(5.0)
    axis = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    spread = (kernel * (axis[:, None] ** 2 + axis[None, :] ** 2)).sum()
    assert spread == pytest.approx(5.0**2 / 2, rel=0.05)  # the second moment of an even disk


def test_blur_keeps_a_flat_picture_and_the_total_light():
    flat = np.full((48, 48, 3), 0.4, np.float32)
    spot = np.zeros((129, 129, 3), np.float32)
    spot[64, 64] = 1
    for seed in range(8):
        rng = np.random.default_rng(seed)
        kernel = motion_kernel(rng, 15)
        np.testing.assert_allclose(convolve(flat, kernel), flat, atol=1e-5)
        np.testing.assert_allclose(camera_motion(flat, rng), flat, atol=1e-5)
        assert convolve(spot, kernel).sum() == pytest.approx(3, rel=1e-4)


def test_blur_never_sharpens():
    clean = picture(128, 128)
    for seed in range(20):
        blurred = SYNTHESIZERS["blur"](clean, np.random.default_rng(seed))
        assert np.abs(np.diff(blurred, axis=1)).mean() < np.abs(np.diff(clean, axis=1)).mean()


def test_a_streak_leans_as_told():
    for lean in (-0.6, 0.0, 0.4):
        kernel = streak_kernel(30, 1.0, lean)
        rows, columns = np.nonzero(kernel > 0.5)
        slope = np.polyfit(rows, columns, 1)[0]
        assert slope == pytest.approx(np.tan(lean), abs=0.05)
        assert kernel.max() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", ["rain", "snow"])
def test_what_falls_from_the_sky_brightens_a_dark_scene(kind):
    dark = np.full((64, 64, 3), 0.2, np.float32)
    for seed in range(20):
        assert SYNTHESIZERS[kind](dark, np.random.default_rng(seed)).min() >= 0.2 - 1 / 255


def test_a_drop_shows_the_scene_upside_down():
    scene = np.zeros((128, 128, 3), np.float32)
    scene[:64] = 1  # a bright sky over a dark ground
    drop = np.array([[64.0, 64.0, 12.0, 12.0]])
    shown = np.mean([refract(scene, drop, 1.0, np.random.default_rng(seed)) for seed in range(20)], axis=0)
    assert shown[54:60, 60:68].mean() < shown[68:74, 60:68].mean()


def test_a_pane_with_drops_leaves_part_of_the_scene_as_it_was():
    clean = quantize(picture(128, 128), np.random.default_rng(0), probability=1)
    for seed in range(20):
        degraded = SYNTHESIZERS["raindrop"](clean, np.random.default_rng(seed))
        untouched = (np.abs(degraded - clean).max(axis=2) < 2 / 255).mean()
        assert 0.05 < untouched < 0.99


def test_underexposure_scales_the_display_values():
    clean = picture()
    for seed in range(20):
        dark = expose(clean, np.random.default_rng(seed), 0.1)
        assert dark.mean() < 0.17 * clean.mean()


def test_low_light_pictures_are_dark_on_average():
    clean = picture(64, 64)
    means = [SYNTHESIZERS["low-light"](clean, np.random.default_rng(seed)).mean() for seed in range(60)]
    assert 0.02 < np.median(means) < 0.12  # LOL's short exposures: 0.03..0.10


def test_cubic_taps_reproduce_constants_and_slopes():
    taps, weights = cubic_taps(64, 16)
    assert taps.min() >= 0 and taps.max() <= 63
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    ramp = (weights.astype(np.float64) * np.arange(64)[taps]).sum(axis=1)
    np.testing.assert_allclose(ramp[3:-3], (np.arange(16)[3:-3] + 0.5) * 4 - 0.5, atol=1e-4)


@pytest.mark.parametrize("size", [(24, 32), (37, 50), (192, 256)])
def test_the_cubic_resize_agrees_with_pillow_away_from_the_border(size):
    plane = picture(96, 128)[..., 0]
    height, width = size
    theirs = np.asarray(Pillow.fromarray(plane).resize((width, height), Pillow.Resampling.BICUBIC))
    ours = resize_cubic(np.repeat(plane[..., None], 3, axis=2), height, width)[..., 1]
    edge = max(4, height // 16)
    np.testing.assert_allclose(ours[edge:-edge, edge:-edge], theirs[edge:-edge, edge:-edge], atol=2e-5)


def test_a_low_frequency_picture_survives_low_resolution():
    axis = np.linspace(0, np.pi, 128, dtype=np.float32)
    smooth = np.repeat((0.5 + 0.4 * np.cos(axis)[:, None] * np.cos(axis)[None, :])[..., None], 3, axis=2)
    for seed in range(15):
        assert psnr(SYNTHESIZERS["low-resolution"](smooth, np.random.default_rng(seed)), smooth, peak=1) > 38


@pytest.mark.parametrize(("sampling", "subsampling"), [(SAMPLING_420, "4:2:0"), (SAMPLING_444, "4:4:4")])
@pytest.mark.parametrize("quality", [10, 20, 60])
def test_compression_is_what_pillow_makes_of_the_same_quality(quality, sampling, subsampling):
    clean = picture(64, 72)
    file = io.BytesIO()
    pixels = np.rint(clean * 255).astype(np.uint8)
    Pillow.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    theirs = np.asarray(Pillow.open(file)).astype(np.float32) / 255
    ours = compress(clean, quality, sampling)
    assert np.abs(ours - theirs).mean() < 0.5 / 255
    assert np.abs(psnr(ours, clean, peak=1) - psnr(theirs, clean, peak=1)) < 0.1


def test_a_single_kind_is_labeled_and_its_target_is_the_clean_crop():
    clean = picture(64, 64)
    for kind in KINDS:
        pair = draw_pair(clean, np.random.default_rng(3), Mixture(weights={kind: 1.0}))
        assert pair.label == kind and pair.labels == {kind: 1.0}
        np.testing.assert_array_equal(pair.target, pair.clean)
        assert np.abs(pair.clean - clean).max() <= 0.5 / 255 + 1e-6
        assert (pair.degraded != pair.clean).any()


def test_a_mixture_is_undone_from_its_last_damage():
    clean, mix = picture(64, 64), Mixture(weights={"haze": 1.0, "noise": 1.0}, two=1.0)
    pair = draw_pair(clean, np.random.default_rng(0), mix)
    assert pair.label == "noise" and pair.labels == {
        "haze": 0.5,
        "noise": 0.5,
    }  # haze is in the air, noise on the sensor
    assert psnr(pair.target, pair.clean, peak=1) < 30  # still hazy
    assert abs((pair.degraded - pair.target).mean()) < 0.02  # what came last is noise, and noise has no mean


def test_damage_that_cannot_be_seen_is_called_clean():
    gray = np.full((64, 64, 3), 0.5, np.float32)
    pair = draw_pair(gray, np.random.default_rng(0), Mixture(weights={"blur": 1.0}))
    assert pair.label == CLEAN and pair.labels == {CLEAN: 1.0}
    np.testing.assert_array_equal(pair.degraded, pair.target)


def test_kinds_and_mixtures_come_in_their_shares():
    clean, rng = picture(32, 32), np.random.default_rng(5)
    mix = Mixture(weights={CLEAN: 2.0, "noise": 1.0, "jpeg": 1.0}, two=0.3)
    pairs = [draw_pair(clean, rng, mix) for _ in range(800)]
    counts = Counter(len(pair.labels) if pair.label != CLEAN else 0 for pair in pairs)
    assert counts[0] / 800 == pytest.approx(0.5, abs=0.06)
    assert counts[2] / 800 == pytest.approx(0.15, abs=0.045)
    assert all(sum(pair.labels.values()) == pytest.approx(1) for pair in pairs)


def test_the_second_kind_is_drawn_from_those_beside():
    clean, rng = picture(32, 32), np.random.default_rng(5)
    mix = Mixture(weights={"haze": 1.0, "low-light": 1.0}, two=1.0, beside={"noise": 1.0})
    pairs = [draw_pair(clean, rng, mix) for _ in range(30)]
    assert {tuple(sorted(pair.labels)) for pair in pairs} == {("haze", "noise"), ("low-light", "noise")}
    assert {pair.label for pair in pairs} == {"noise"}


def test_a_pair_is_a_function_of_its_seed():
    clean = picture(64, 64)
    for seed in range(10):
        first, again = (draw_pair(clean, np.random.default_rng(seed), Mixture(two=0.5)) for _ in range(2))
        assert first.labels == again.labels and first.degraded.tobytes() == again.degraded.tobytes()


def test_the_contact_sheet_has_a_row_for_each_kind_and_one_for_clean():
    sheet = contact_sheet([picture(90, 70), picture(64, 120)], seed=0, columns=2, tile_px=48)
    assert sheet.shape == (48 * (len(KINDS) + 1), 96, 3)
    assert sheet.min() >= 0 and sheet.max() <= 1
