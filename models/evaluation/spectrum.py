"""Measures a regular grid, such as an upsampling network prints into skies and walls.

A grid of period 16 px (or 8, 4, 2) puts its power into the harmonics of 16 px.  Skies and walls have little else there,
so the power at a harmonic divided by the power around it tells a grid from grain: about 2 for a photograph, and tens to
hundreds for a grid that can be seen.  Only flat windows count, so bricks, cloth and fences do not.

Method: the spectra of Hann windows of 64 px, each freed of its quadratic trend, averaged over 128 px (Welch 1967).

Shapes:  H W pixels.  Pictures are RGB (H, W, 3) in levels of 255: uint8, or floating point from 0 to 255.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Levels = NDArray[np.uint8] | NDArray[np.floating]  # (H, W, 3), 0 to 255
Windows = NDArray[np.bool_]  # (rows, columns): which windows of a picture are flat

WINDOW_PX, STRIDE_PX = 64, 32
PERIOD_PX = 16
"""Its harmonics include those of 8, 4 and 2 px: the strides of the networks."""
FLAT_LEVELS = 6.0
"""Largest standard deviation of a flat window about its trend, in the busiest channel."""
NATURAL = 2.0
"""The peak of a typical photograph."""
AVERAGED = 3
"""So many windows a side are averaged; with their overlap they cover 128 px."""
FEWEST = 3
"""With fewer flat windows in such a group, the spectrum is too rough to be judged."""
VISIBLE_LEVELS = 1.0
"""Standard deviation of white noise that is added in theory: a weaker grid cannot be seen, even in a smooth sky."""


def spectral_peak(picture: Levels, flat: Windows | None = None) -> float:
    """Returns the strongest harmonic of 16 px in flat regions, relative to the spectrum around it; 1 means no grid.

    Most photographs have less than 5, those that kept the grid of a JPEG up to 15.  A picture without a flat region
    has 1.

    Args:
        picture: (H, W, 3) in levels of 255.
        flat: the windows to measure, for example `flat_windows(truth)` of a picture of the same size, so that two
            pictures are compared in the same places.  None: those that are flat in `picture`.
    """
    return peak_at(picture, flat).ratio


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The strongest peak: its ratio, and the center of its region (x, y) in pixels; (0, 0) without a flat region."""

    ratio: float
    center: tuple[int, int]


def peak_at(picture: Levels, flat: Windows | None = None) -> Peak:
    """Returns the same as `spectral_peak`, with the place.

    Raises:
        ValueError: `flat` belongs to a picture of another size.
    """
    shape = _grid_shape(picture)
    if 0 in shape:
        return Peak(ratio=1.0, center=(0, 0))
    flat = flat_windows(picture) if flat is None else flat
    if flat.shape != shape:
        raise ValueError(f"got {flat.shape} flat windows, expected {shape} for a picture of {picture.shape[:2]} px")
    spectra = np.zeros((*shape, WINDOW_PX, WINDOW_PX // 2 + 1), np.float32)
    for row in np.flatnonzero(flat.any(axis=1)):
        spectra[row, flat[row]] = _spectra(_residuals(picture, int(row))[flat[row]])
    ratios = _ratios(spectra, flat)
    row, column = np.unravel_index(int(ratios.argmax()), ratios.shape)
    half = WINDOW_PX // 2
    center = (int(column) * STRIDE_PX + half, int(row) * STRIDE_PX + half)
    ratio = float(ratios[row, column])
    return Peak(ratio=ratio, center=center) if ratio > 0 else Peak(ratio=1.0, center=(0, 0))


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """The peaks of a repair, measured in the same windows; `center` is the place of that of the result."""

    before: float
    after: float
    truth: float | None
    center: tuple[int, int]

    @property
    def growth(self) -> float:
        """The peak of the result, relative to the largest that was there before or belongs there; at most 3 is good.

        A peak below `NATURAL` is chance, so it counts as `NATURAL`.
        """
        return self.after / max(self.before, self.truth or 0.0, NATURAL)


def compare_peaks(before: Levels, after: Levels, truth: Levels | None = None) -> Peaks:
    """Returns the peaks of a picture, its repair and its truth where the picture or the truth is flat: one size."""
    flat = flat_windows(before)
    if truth is not None:
        flat |= flat_windows(truth)
    found = peak_at(after, flat)
    return Peaks(
        before=spectral_peak(before, flat),
        after=found.ratio,
        truth=None if truth is None else spectral_peak(truth, flat),
        center=found.center,
    )


def flat_windows(picture: Levels) -> Windows:
    """Returns which windows of a picture are flat: every 32 px, in rows and columns; empty for less than 64 px a side.

    A window is flat if it is smooth apart from weak grain; black and white areas are flat, too.
    """
    rows, columns = _grid_shape(picture)
    flat = np.zeros((rows, columns), np.bool_)
    for row in range(rows if columns else 0):
        flat[row] = (_residuals(picture, row).std(axis=(2, 3)) <= FLAT_LEVELS).all(axis=1)
    return flat


def _grid_shape(picture: Levels) -> tuple[int, int]:
    height, width = picture.shape[:2]
    rows, columns = (max((length - WINDOW_PX) // STRIDE_PX + 1, 0) for length in (height, width))
    return rows, columns


def _residuals(picture: Levels, row: int) -> NDArray[np.float32]:
    """Returns a row of windows about their trends: (columns, 3, 64, 64)."""
    strip = picture[row * STRIDE_PX : row * STRIDE_PX + WINDOW_PX].astype(np.float32)
    windows = sliding_window_view(strip, WINDOW_PX, axis=1)[:, ::STRIDE_PX]  # (64, columns, 3, 64)
    pixels = windows.transpose(1, 2, 0, 3).reshape(-1, 3, WINDOW_PX * WINDOW_PX)
    trends = _trends()
    residuals = pixels - (pixels @ trends) @ trends.T
    return np.asarray(residuals, np.float32).reshape(-1, 3, WINDOW_PX, WINDOW_PX)


def _trends() -> NDArray[np.float32]:
    """Returns an orthonormal basis of the quadratic polynomials over a window: (64 * 64, 6)."""
    y, x = np.mgrid[-1 : 1 : WINDOW_PX * 1j, -1 : 1 : WINDOW_PX * 1j].reshape(2, -1)
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1))
    return basis.astype(np.float32)


def _spectra(residuals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns power spectra, summed over the channels, in levels squared per pixel: (n, 64, 33)."""
    hann = np.hanning(WINDOW_PX + 1)[:-1].astype(np.float32)
    taper = hann[:, None] * hann
    power = np.abs(np.fft.rfft2(residuals * taper)) ** 2 / (taper**2).sum()
    return np.asarray(power.sum(axis=1), np.float32)


def _ratios(spectra: NDArray[np.float32], flat: Windows) -> NDArray[np.float32]:
    """Returns the strongest harmonic around each flat window, relative to its surroundings; 0 where unknown."""
    rows, columns = flat.shape
    ratios = np.zeros(flat.shape, np.float32)
    reach = AVERAGED // 2
    # a picture smaller than a group has fewer windows than a group needs
    fewest = min(FEWEST, rows * columns)
    for row, column in np.argwhere(flat):
        group = np.s_[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        if flat[group].sum() >= fewest:
            mean = spectra[group].sum(axis=(0, 1)) / flat[group].sum() + 3 * VISIBLE_LEVELS**2
            ratios[row, column] = _strongest(mean)
    return ratios


def _strongest(spectrum: NDArray[np.float32]) -> float:
    """Returns the largest ratio of a harmonic to its surroundings.

    An edge is a line through the spectrum, which is not a peak: the surroundings are those in the strongest direction.
    """
    (ys, xs), (ahead, behind) = _HARMONICS, _SURROUNDINGS
    around = np.sqrt(spectrum[ahead] * spectrum[behind]).max(axis=1)
    return float((spectrum[ys, xs] / around).max())


Bins = tuple[NDArray[np.intp], NDArray[np.intp]]  # indices along the two axes of a spectrum


def _harmonics() -> tuple[Bins, tuple[Bins, Bins]]:
    """Returns the bins of the harmonics, (n,), and those on both sides of each, (n, m), for m directions.

    Those are 2 to 3 bins away, since a Hann window spreads a peak over 1 bin, and the next harmonic is 4 bins away.
    """
    step = WINDOW_PX // PERIOD_PX
    at = np.array([(y, x) for y in range(0, WINDOW_PX, step) for x in range(0, WINDOW_PX // 2 + 1, step) if y or x])
    # one half of the ring: the other half are the opposite directions
    ring = [(y, x) for y in range(-3, 4) for x in range(4) if max(abs(y), x) >= 2 and (x > 0 or y > 0)]
    ahead, behind = (at[:, None] + sign * np.array(ring) for sign in (1, -1))
    return (at[:, 0], at[:, 1]), (_mirrored(ahead), _mirrored(behind))


def _mirrored(at: NDArray[np.intp]) -> Bins:
    """Returns the stored bins of coordinates (..., 2): the power of real numbers at (y, x) is that at (-y, -x)."""
    outside = (at[..., 1] < 0) | (at[..., 1] > WINDOW_PX // 2)
    stored = np.where(outside[..., None], -at, at) % WINDOW_PX
    return stored[..., 0], stored[..., 1]


_HARMONICS, _SURROUNDINGS = _harmonics()
