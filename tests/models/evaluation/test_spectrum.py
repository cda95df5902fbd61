"""Spectral peaks against mathematics: the power of a sine wave, of white noise and of an edge is known.

Shapes:  pictures are (H, W, 3) in levels of 255.
"""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.spectrum import NATURAL, VISIBLE_LEVELS, compare_peaks, flat_windows, peak_at, spectral_peak

SIDE = 256
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float64)


def sky(noise: float, grid: NDArray[np.float64] | float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
    """Returns a smooth sky with white noise and a grid, in 8 bits."""
    rng = np.random.default_rng(seed)
    smooth = 140 + 0.15 * Y + 20 * np.sin(X / 200)
    tones = np.stack([0.8 * smooth, 0.9 * smooth, smooth], axis=-1)
    grid = np.asarray(grid)[..., None] if np.ndim(grid) == 2 else grid
    return np.clip(tones + grid + rng.normal(0, noise, tones.shape), 0, 255).round().astype(np.uint8)


def wave(period: float, amplitude: float) -> NDArray[np.float64]:
    return np.asarray(amplitude * np.cos(2 * math.pi * X / period))


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_peak_of_a_sine_wave_is_its_power_over_that_of_the_noise(noise):
    amplitude = 2.0
    hann = np.hanning(65)[:-1]
    gain = (hann.sum() ** 2 / (hann**2).sum()) ** 2  # 2-D: the coherent gain of the window over its noise gain
    rounding = 1 / 12
    expected = 1 + amplitude**2 / 4 * gain / (noise**2 + rounding + VISIBLE_LEVELS**2)
    measured = spectral_peak(sky(noise, wave(8, amplitude)))
    assert expected / 2 < measured < expected * 1.2  # the background is the largest of 24 estimates, so it is above 1


@pytest.mark.parametrize("period", [2, 4, 8, 16, 16 / 3])
@pytest.mark.parametrize("direction", ["columns", "rows", "both"])
def test_every_harmonic_of_16_px_is_found_in_every_direction(period, direction):
    across = wave(period, 2)
    grid = {"columns": across, "rows": across.T, "both": across + across.T}[direction]
    assert spectral_peak(sky(1, grid)) > 50


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_grid_of_one_color_is_found(channel):
    picture = sky(1).astype(np.float64)
    picture[..., channel] += wave(8, 2)
    assert spectral_peak(picture) > 30


def test_the_steps_of_8_bits_in_a_noiseless_gradient_are_no_grid_that_can_be_seen():
    assert spectral_peak(sky(0)) < 12


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("seed", range(3))
def test_noise_and_gradients_have_no_peak(noise, seed):
    assert spectral_peak(sky(noise, seed=seed)) < 5


@pytest.mark.parametrize("degrees", [0, 10, 30, 45, 90, 135])
def test_an_edge_is_no_grid(degrees):
    turn = math.radians(degrees)
    edge = 8.0 * (np.cos(turn) * (X - 100) + np.sin(turn) * (Y - 120) > 0)
    assert spectral_peak(sky(1, edge)) < 6


def test_a_wave_between_the_harmonics_is_no_grid():
    assert spectral_peak(sky(1, wave(64 / 6, 2))) < 5  # bin 6 lies between the harmonics at 4 and 8


def test_bricks_do_not_count_because_they_are_not_flat():
    bricks = 40.0 * ((X // 8 + Y // 8) % 2)
    assert spectral_peak(sky(1, bricks)) == 1
    assert not flat_windows(sky(1, bricks)).any()


def test_the_flat_windows_of_the_truth_find_a_grid_that_is_too_strong_to_look_flat():
    picture = sky(1, wave(8, 20))
    assert spectral_peak(picture) == 1
    assert spectral_peak(picture, flat_windows(sky(1))) > 1000


def test_the_place_is_that_of_the_grid():
    grid = wave(8, 3) * ((X > 128) & (Y < 128))
    x, y = peak_at(sky(1, grid)).center
    assert x >= 128
    assert y <= 128


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_picture_has_the_same_peak(turns):
    picture = sky(1, wave(8, 1))
    assert spectral_peak(np.rot90(picture, turns)) == pytest.approx(
        spectral_peak(picture), rel=0.05
    )  # Hann windows of even length are not quite symmetric


@pytest.mark.parametrize("shape", [(63, 500), (1, 1), (64, 64), (64, 300), (65, 130)])
def test_pictures_of_every_size_have_a_peak_of_at_least_one_number(shape):
    picture = sky(0.5)[: shape[0], : shape[1]]
    measured = spectral_peak(np.ascontiguousarray(picture))
    assert 1 <= measured < 8
    assert spectral_peak(sky(0.5, wave(8, 3))[: shape[0], : shape[1]]) > 20 or min(shape) < 64


def test_flat_windows_of_another_size_are_refused():
    with pytest.raises(ValueError, match="flat windows"):
        spectral_peak(sky(1), flat_windows(sky(1)[:128]))


def test_a_repair_that_prints_a_grid_is_told_from_one_that_keeps_the_grid_of_its_input():
    clean, grid = sky(1), sky(1, wave(8, 3))
    assert compare_peaks(clean, grid).growth > 3
    assert compare_peaks(grid, grid).growth == pytest.approx(1)
    assert compare_peaks(clean, grid, truth=grid).growth == pytest.approx(1)  # the truth has it, too
    assert compare_peaks(grid, clean).growth < 0.1


def test_growth_counts_the_chance_peaks_of_noise_as_those_of_a_photograph():
    peaks = compare_peaks(sky(1), sky(0.5, seed=1))
    assert peaks.growth == pytest.approx(peaks.after / max(peaks.before, NATURAL)) and peaks.growth < 2


def test_a_noisy_input_is_measured_where_its_truth_is_flat():
    peaks = compare_peaks(sky(40), sky(1, wave(8, 3)), truth=sky(1))
    assert not flat_windows(sky(40)).any()
    assert peaks.growth > 3
