"""Tiles that fit into memory: never larger than asked for, and as large as memory allows."""

import pytest

from models.maxim.memory import BYTES_PER_PIXEL, SHARE, TILE_SIDES_PX, tile_side_px

GIB = 2**30


@pytest.mark.parametrize("available_bytes", [0, GIB // 4, GIB // 2, GIB, 2 * GIB, 4 * GIB, 64 * GIB])
@pytest.mark.parametrize("pixels", [256**2, 640 * 480, 1024**2])
def test_a_tile_is_the_largest_that_fits_and_cuts_only_what_does_not(pixels, available_bytes):
    side, fits = tile_side_px(pixels, available_bytes), SHARE * available_bytes
    if side is None:
        assert pixels * BYTES_PER_PIXEL <= fits
        return
    assert pixels * BYTES_PER_PIXEL > fits
    larger = [other for other in TILE_SIDES_PX if other > side]
    assert all(other**2 * BYTES_PER_PIXEL > fits for other in larger)
    assert side**2 * BYTES_PER_PIXEL <= fits or side == min(TILE_SIDES_PX)


def test_a_megapixel_is_whole_on_a_machine_with_8_gb_and_cut_on_one_with_2():
    assert tile_side_px(1024**2, 6 * GIB) is None
    assert tile_side_px(1024**2, 2 * GIB) == 768
