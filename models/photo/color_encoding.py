"""Gives the networks pixels that look like sRGB: linear light and HDR are converted, other encodings become a profile.

A file says what its samples mean by an ICC profile, or by PNG's cICP, gAMA and cHRM, AVIF's nclx, TIFF's chromaticities
or a camera's Adobe RGB mark.  All formats can hold an ICC profile, so the result always has one, unless it is sRGB.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.photo import icc as profiles
from models.photo.icc import SRGB_PRIMARIES, Primaries

Samples = NDArray[np.uint8] | NDArray[np.uint16]

PQ, HLG = "PQ", "HLG"
ADOBE_RGB_NAME, ADOBE_RGB_GAMMA = "Adobe RGB (1998) compatible", 563 / 256
ADOBE_RGB: Primaries = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
BT_2020: Primaries = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
PRIMARIES: dict[int, Primaries] = {
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: BT_2020,
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
"""H.273, table 2.  All other codes mean sRGB's primaries, or nothing."""
TRANSFERS: dict[int, float | str] = {4: 2.2, 5: 2.8, 8: 1.0, 16: PQ, 18: HLG}
"""H.273, table 3.  The other curves are close to sRGB's, and browsers show them as sRGB."""

GAMMAS_LIKE_SRGB = (1.6, 3.0)
"""Samples with such an exponent look right to the networks; others, above all linear light, are converted."""
SRGB_GAMMA, GAMMA_TOLERANCE, PRIMARIES_TOLERANCE = 2.2, 0.05, 0.003

WHITE_NITS, HLG_PEAK_NITS, KNEE = 203.0, 1000.0, 0.75
"""BT.2408's reference white; the tone curve is the identity below the knee."""
BLOCK_PIXELS = 2**20


@dataclass(frozen=True)
class Encoding:
    """What samples mean: a curve (an exponent, "PQ", "HLG", or None for sRGB's) and primaries."""

    primaries: Primaries = SRGB_PRIMARIES
    transfer: float | str | None = None
    name: str = "the photo's color encoding"


@dataclass(frozen=True)
class Displayed:
    """Pixels that look like sRGB, their profile, and what was converted."""

    pixels: Samples
    icc: bytes | None
    warnings: tuple[str, ...] = ()


def encoding_of_codes(primaries: int, transfer: int) -> Encoding:
    """Returns the encoding of H.273's code points (cICP, nclx)."""
    return Encoding(PRIMARIES.get(primaries, SRGB_PRIMARIES), TRANSFERS.get(transfer), f"CICP {primaries}-{transfer}")


def to_displayed(pixels: Samples, icc: bytes | None, encoding: Encoding | None, *, gray: bool) -> Displayed:
    """Convert linear light and HDR to sRGB's curve; describe other encodings by a profile.

    An ICC profile has priority over an `encoding`, except over HDR, which profiles of version 2 cannot express.
    """
    if icc and profiles.transfer_of(icc) in (16, 18):
        encoding = encoding_of_codes(profiles.primaries_code_of(icc) or 9, profiles.transfer_of(icc) or 16)
    if encoding and encoding.transfer in (PQ, HLG):
        warning = f"HDR ({encoding.transfer}) was converted to standard range (sRGB): highlights are compressed"
        return Displayed(_tone_mapped(pixels, encoding), None, (warning,))
    if icc:
        return _with_usual_curve(pixels, icc)
    if encoding is None:
        return Displayed(pixels, None)
    gamma, warnings = encoding.transfer, tuple[str, ...]()
    assert not isinstance(gamma, str), "HDR is handled above"
    if gamma is not None and not GAMMAS_LIKE_SRGB[0] < gamma < GAMMAS_LIKE_SRGB[1]:
        pixels, warnings, gamma = _recoded(pixels, gamma), (_gamma_warning(gamma),), None
    if gamma is not None and abs(gamma - SRGB_GAMMA) < GAMMA_TOLERANCE and encoding.name != ADOBE_RGB_NAME:
        gamma = None
    same_primaries = np.abs(np.subtract(encoding.primaries, SRGB_PRIMARIES)).max() < PRIMARIES_TOLERANCE
    if gamma is None and (same_primaries or gray):
        return Displayed(pixels, None, warnings)
    try:
        icc = profiles.profile(encoding.name, encoding.primaries, gamma, gray=gray)
    except (ArithmeticError, np.linalg.LinAlgError):
        warnings = (*warnings, "the color primaries of the file are impossible: treated as sRGB")
    return Displayed(pixels, icc, warnings)


def _with_usual_curve(pixels: Samples, icc: bytes) -> Displayed:
    gamma = profiles.gamma_of(icc)
    if gamma is None or GAMMAS_LIKE_SRGB[0] < gamma < GAMMAS_LIKE_SRGB[1]:
        return Displayed(pixels, icc)
    usual = profiles.with_srgb_curve(icc) if gamma > 0 else None
    return Displayed(_recoded(pixels, gamma), usual, (_gamma_warning(gamma),)) if usual else Displayed(pixels, icc)


def _gamma_warning(gamma: float) -> str:
    light = "linear light" if abs(gamma - 1) < GAMMA_TOLERANCE else f"samples of gamma {gamma:.2f}"
    return f"{light} was converted to the sRGB curve"


def _recoded(pixels: Samples, gamma: float) -> Samples:
    """Returns samples with sRGB's curve in place of an exponent."""
    maximum = np.iinfo(pixels.dtype).max
    light = np.linspace(0, 1, int(maximum) + 1) ** gamma
    result = np.empty_like(pixels)
    result[:] = np.round(profiles.linear_to_srgb(light) * maximum).astype(pixels.dtype)[pixels]
    return result


def _tone_mapped(pixels: Samples, encoding: Encoding) -> Samples:
    """Returns sRGB pixels; brightness above the knee is compressed, and colors outside sRGB are clipped."""
    matrix = np.linalg.solve(profiles.xyz_matrix(SRGB_PRIMARIES), profiles.xyz_matrix(encoding.primaries))
    maximum, result = int(np.iinfo(pixels.dtype).max), np.empty_like(pixels)
    rows = max(1, BLOCK_PIXELS // pixels.shape[1])
    for start in range(0, len(pixels), rows):
        signal = pixels[start : start + rows].astype(np.float64) / maximum
        light = _pq_to_light(signal) if encoding.transfer == PQ else _hlg_to_light(signal)
        light = np.maximum(light @ matrix.T, 0)
        peak = np.maximum(light.max(axis=2, keepdims=True), 1e-6)
        over = np.maximum(peak - KNEE, 0) / (1 - KNEE)
        light *= np.minimum(peak, KNEE + (1 - KNEE) * over / (1 + over)) / peak
        result[start : start + rows] = np.round(profiles.linear_to_srgb(np.minimum(light, 1)) * maximum)
    return result


def _pq_to_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084: from [0, 1] to multiples of the reference white."""
    power = signal ** (32 / 2523)
    light = np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)
    return np.asarray(light ** (16384 / 2610) * (10_000 / WHITE_NITS), dtype=np.float64)


def _hlg_to_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.2100, table 5: from [0, 1] to multiples of the reference white, on a display of 1000 nits (gamma 1.2)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = np.maximum(scene @ np.array([0.2627, 0.6780, 0.0593]), 1e-6)[..., None]
    return np.asarray(scene * luminance**0.2 * (HLG_PEAK_NITS / WHITE_NITS), dtype=np.float64)
