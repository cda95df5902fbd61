"""Decodes and encodes PNG with 16 bits a sample; Pillow would reduce them to 8 bits.

Shapes:  H W pixels, C samples a pixel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.  Samples are uint16.
"""

import numpy as np
from numpy.typing import NDArray

Samples16 = NDArray[np.uint16]


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


def _with_channel_axis(samples: Samples16) -> Samples16:
    return samples[..., None] if samples.ndim == 2 else samples
