"""The tiles that MAXIM's memory allows on a CPU: a megapixel takes gigabytes, which a small machine may not have."""

BYTES_PER_PIXEL = 2000
"""Of float32, at the peak within a picture: 1,600 from 512 to 1024 px a side (benchmarks/maxim.py), and a reserve."""
TILE_SIDES_PX = (1024, 768, 512, 384, 256)
"""Few sizes, so that a result depends little on what else runs.  The smallest is what the networks were trained on."""
SHARE = 0.8
"""Of the available memory: the photo itself, and what others take meanwhile, need some."""


def tile_side_px(pixels: int, available_bytes: int) -> int | None:
    """Returns the side of the square with the most pixels of a tile; None: `pixels` at a time fit.

    Args:
        pixels: of the largest tile, or of the whole picture where it is not cut.
    """
    allowed = int(available_bytes * SHARE) // BYTES_PER_PIXEL
    if pixels <= allowed:
        return None
    return next((side for side in TILE_SIDES_PX if side**2 <= allowed), TILE_SIDES_PX[-1])
