"""Encodes TIFF files: one deflated strip, 8 or 16 bits a sample.

Pillow cannot write 16-bit RGB, and its compressed TIFFs lose the Exif directory.

Shapes:  H W pixels, C samples a pixel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
"""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.photo.carriers import Carried
from models.photo.exif import resolution_tags, tiff_header

DEFLATE, HORIZONTAL_DIFFERENCING, STRAIGHT_ALPHA = 8, 2, 2
GRAY, RGB = 1, 2
ICC_TAG, XMP_TAG, IPTC_TAG = 34675, 700, 33723


def encode_tiff(samples: NDArray[np.uint8] | NDArray[np.uint16], icc: bytes | None, metadata: Carried) -> bytes:
    """Encode (H, W, C) samples with an ICC profile and metadata (TIFF 6.0, sections 8, 14 and 18)."""
    height, width, channels = samples.shape
    bits = samples.dtype.itemsize * 8
    differences = np.diff(samples, axis=1, prepend=samples.dtype.type(0))  # modulo 2^bits, as the predictor requires
    strip = zlib.compress(differences.astype(f"<u{bits // 8}", copy=False).tobytes())
    tags: dict[int, Any] = {
        256: width, 257: height, 258: (bits,) * channels, 259: DEFLATE, 262: GRAY if channels < 3 else RGB,
        273: 0,  # the strip's offset; Pillow adds the length of the directories
        277: channels, 278: height, 279: len(strip), 284: 1, 317: HORIZONTAL_DIFFERENCING,
    }  # fmt: skip
    if channels in (2, 4):
        tags[338] = STRAIGHT_ALPHA
    if icc:
        tags[ICC_TAG] = icc
    if metadata.dpi:
        tags |= resolution_tags(metadata.dpi)
    if metadata.xmp:
        tags[XMP_TAG] = metadata.xmp
    if metadata.iptc:
        tags[IPTC_TAG] = metadata.iptc
    return tiff_header(metadata.exif, tags) + strip
