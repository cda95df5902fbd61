"""Puts two images side by side, for comparison by eye."""

import numpy as np

from models.photo.read import Photo
from models.photo.write import to_eight_bits

LINE_PX = 4


def side_by_side(before: Photo, after: Photo) -> Photo:
    """Returns before | after in 8 bits, with a white line between them."""
    left, right = to_eight_bits(before.pixels), to_eight_bits(after.pixels)
    line = np.full((left.shape[0], LINE_PX, 3), 255, dtype=np.uint8)
    return Photo(pixels=np.concatenate([left, line, right], axis=1), format="png", icc=before.icc, gray=before.gray)
