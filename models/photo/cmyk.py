"""Converts 16-bit CMYK to sRGB; Pillow's color management has 8 bits.

Shapes:  H W pixels.
"""

import numpy as np
from numpy.typing import NDArray

Samples16 = NDArray[np.uint16]

MAX_SAMPLE = 65535


def cmyk_to_srgb(samples: NDArray[np.uint8] | Samples16, icc: bytes | None) -> tuple[Samples16, str]:
    """Convert 16-bit inks to sRGB, with their profile if it works; returns a warning, too.

    Args:
        samples: (H, W, 4), or (H, W, 5) with alpha.  The result has one channel less.
    """
    import imagecodecs  # takes 0.2 s to import, and few files need it

    inks, alpha = np.ascontiguousarray(samples[..., :4], dtype=np.uint16), samples[..., 4:].astype(np.uint16)
    warning = "CMYK was converted to sRGB"
    if icc:
        try:
            srgb = imagecodecs.cms_profile("srgb")
            converted = imagecodecs.cms_transform(inks, icc, srgb, colorspace="cmyk", outcolorspace="rgb")
            colors = np.asarray(converted, dtype=np.uint16)
            return np.concatenate([colors, alpha], axis=2), f"{warning} with its color profile"
        except (imagecodecs.CmsError, ValueError):
            warning += " without its color profile, which is damaged"
    paper = MAX_SAMPLE - inks.astype(np.float32)
    colors = np.round(paper[..., :3] * (paper[..., 3:] / MAX_SAMPLE)).astype(np.uint16)
    return np.concatenate([colors, alpha], axis=2), warning
