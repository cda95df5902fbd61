"""EXIF orientation: read it from a file and apply it to the pixels.

Shapes:  H W pixels.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from models.photo.exif import EXIF_ERRORS

S = TypeVar("S", NDArray[np.uint8], NDArray[np.uint16])


def orientation_of(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 (upright) if it is missing or invalid."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except EXIF_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


def apply_orientation(samples: S, orientation: int) -> S:
    """Returns an upright copy of (H, W, ...) samples (EXIF 2.3, tag 274)."""
    if orientation in (5, 6, 7, 8):
        samples = np.swapaxes(samples, 0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.array(samples, order="C")
