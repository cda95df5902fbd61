"""Converts an image file to another format or quality.  Torch-free; meant to run in a picture process."""

import os

from models.photo.read import Limits, read_photo
from models.photo.write import encode_photo

NICENESS = 10
"""A conversion is work for later: requests and restorations go first."""


def convert_photo(data: bytes, kind: str, quality: int | None, limits: Limits) -> bytes:
    """Decode and encode an image, with profile, alpha and EXIF.  Lowers the priority of its process for good.

    Raises:
        PhotoError: the file is not an image, is over the limits, or the format cannot hold it.
    """
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    return encode_photo(read_photo(data, limits), kind, quality)
