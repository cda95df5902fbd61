"""Decodes PNG and TIFF with 16 bits a sample, and encodes such PNG; Pillow would reduce them to 8 bits.

Shapes:  H W pixels, C samples a pixel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.  Samples are uint16.
"""

import io

import numpy as np
from numpy.typing import NDArray

Samples16 = NDArray[np.uint16]

MAX_SAMPLE = 65535


def decode_png(data: bytes) -> Samples16 | None:
    """Returns (H, W, C) samples; None unless the file has 16 bits a sample."""
    if data[24:25] != b"\x10":
        return None
    import imagecodecs  # takes 0.2 s to import, and few files need it

    return _with_channel_axis(np.asarray(imagecodecs.png_decode(data), dtype=np.uint16))


def encode_png(samples: NDArray[np.uint8] | Samples16) -> bytes:
    """Encode (H, W, C) samples of 8 or 16 bits, without metadata."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)))


def decode_tiff(data: bytes) -> Samples16 | None:
    """Returns (H, W, C) samples of the first page; None unless it is gray or RGB with 16 bits a sample."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        photometric = tifffile.PHOTOMETRIC
        if page.dtype != np.uint16 or page.bitspersample != 16 or page.photometric not in (
            photometric.MINISWHITE, photometric.MINISBLACK, photometric.RGB,
        ):  # fmt: skip
            return None
        samples = np.asarray(page.asarray(), dtype=np.uint16)
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, 2)
        samples = _with_channel_axis(samples)
        if page.photometric == photometric.MINISWHITE:
            samples = np.concatenate([MAX_SAMPLE - samples[..., :1], samples[..., 1:]], axis=2)
        return _with_straight_alpha(samples, 3 if page.photometric == photometric.RGB else 1, tuple(page.extrasamples))


def _with_straight_alpha(samples: Samples16, colors: int, extra_samples: tuple[int, ...]) -> Samples16:
    """Returns the colors, then straight alpha if the first extra sample is alpha.

    `extra_samples` are TIFF 6.0's codes: 1 premultiplied alpha, 2 straight alpha, others not alpha.
    """
    if not extra_samples or extra_samples[0] not in (1, 2):
        return samples[..., :colors]
    samples = samples[..., : colors + 1]
    if extra_samples[0] == 2:
        return samples
    alpha = np.maximum(samples[..., colors:], 1).astype(np.float64)
    straight = np.minimum(np.round(samples[..., :colors] * (MAX_SAMPLE / alpha)), MAX_SAMPLE).astype(np.uint16)
    return np.concatenate([straight, samples[..., colors:]], axis=2)


def _with_channel_axis(samples: Samples16) -> Samples16:
    return samples[..., None] if samples.ndim == 2 else samples
