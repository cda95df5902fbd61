"""Bounds what a TIFF page makes a decoder allocate: by its tags, and by the pictures inside its strips or tiles.

A few bytes can declare billions of samples a pixel, or a tile of a million pixels a side, and decoders believe them.
"""

import io
from collections.abc import Iterator
from contextlib import suppress

from PIL import Image

from models.errors import PhotoTooLarge, UnsupportedPhoto
from models.photo.decoder_errors import DECODER_ERRORS
from models.photo.tiff_directories import Directory, Tag

PIXEL_BYTES = 10
"""Of the largest pixel that is kept: CMYK with alpha of 16 bits.  Pixels of smaller pictures may have more samples."""
LEAST_BYTES = 2**26
"""Always allowed: a small picture may lie in one large tile."""
PICTURES = frozenset({7, 34712, 50001})
"""Compressions whose strips and tiles are files with a size of their own: JPEG, JPEG 2000 and WebP."""


def check_decoded_size(page: Directory, data: bytes, max_pixels: int, name: str) -> None:
    """Check that no array of a decoder is larger than that of the largest photo.

    Raises:
        PhotoTooLarge: the picture, or one of its strips or tiles, would be.
        UnsupportedPhoto: the page has several layers in depth.
    """
    if any(page.get(tag, 1) != 1 for tag in (Tag.IMAGE_DEPTH, Tag.TILE_DEPTH)):
        raise UnsupportedPhoto(f"{name} is a TIFF of several layers in depth. Save one of them as RGB.")
    width, height = page.size
    samples, most = page.get(Tag.SAMPLES, 1), max(PIXEL_BYTES * max_pixels, LEAST_BYTES)
    sample_bytes = 1 if max(page.values.get(Tag.BITS, (1,))) <= 8 else 2
    tile = page.get(Tag.TILE_WIDTH, 1) * page.get(Tag.TILE_HEIGHT, 1)
    for pixels in (width * height, tile, *_pixels_inside(page, data)):
        if (found := pixels * samples * sample_bytes) > most:
            raise PhotoTooLarge(
                f"{name} is too large: its TIFF tags ask for {found / 1e6:,.0f} MB of memory ({samples:,} samples a "
                f"pixel), expected at most {most / 1e6:,.0f} MB. Save it as 8- or 16-bit RGB."
            )


def _pixels_inside(page: Directory, data: bytes) -> Iterator[int]:
    """Yields the pixels of the picture in each strip or tile, by its own header."""
    if page.get(Tag.COMPRESSION, 1) not in PICTURES:
        return
    offsets = page.values.get(Tag.TILE_OFFSETS) or page.values.get(Tag.STRIP_OFFSETS, ())
    counts = page.values.get(Tag.TILE_BYTES) or page.values.get(Tag.STRIP_BYTES, ())
    for offset, count in zip(offsets, counts, strict=False):
        size = (0, 0)
        with suppress(*DECODER_ERRORS), Image.open(io.BytesIO(data[offset : offset + count])) as image:
            size = image.size
        yield size[0] * size[1]  # nothing, where the decoder will say what is wrong
