"""Tiles cover an image, and the canvas blends them without seams."""

import itertools
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parity_check import assert_parity
from torch import nn

from models.tiles import Canvas, feather_weights, tile_grid

sides = st.integers(1, 90)
overlaps = st.integers(0, 20)
areas = st.integers(1, 2000)
multiples = st.sampled_from([1, 2, 8])


def blended(height, width, area, overlap, restore, multiple=1):
    """Blend `restore(tile)` of every tile into one image."""
    canvas = Canvas(height, width, overlap)
    for tile in tile_grid(height, width, area, overlap, multiple):
        canvas.add(tile, restore(tile))
    return canvas.image()


def up(length, multiple):
    return -(-length // multiple) * multiple


@given(height=sides, width=sides, area=areas, overlap=overlaps, multiple=multiples)
@settings(max_examples=200, deadline=None)
def test_tiles_cover_every_pixel_have_one_shape_and_overlap_enough(height, width, area, overlap, multiple):
    grid = tile_grid(height, width, area, overlap, multiple)
    covered = torch.zeros(height, width)
    for tile in grid:
        tile.crop(covered).add_(1)
        assert tile.crop(covered).shape == (grid[0].height, grid[0].width)
    assert covered.min() >= 1
    assert [tile.index for tile in grid] == list(range(len(grid)))
    assert {tile.count for tile in grid} == {len(grid)}
    first, smallest = grid[0], up(overlap + 1, multiple)
    for side, part, starts in (
        (height, first.height, sorted({tile.top for tile in grid})),
        (width, first.width, sorted({tile.left for tile in grid})),
    ):
        assert part == side or part % multiple == 0
        assert all(b - a <= part - overlap for a, b in itertools.pairwise(starts))
    if len(grid) > 1:
        sides_of_tile = up(first.height, multiple), up(first.width, multiple)
        assert math.prod(sides_of_tile) <= max(area, smallest * max(sides_of_tile)), "no larger than asked for"


@given(height=sides, width=sides, area=st.integers(300, 2000), overlap=st.integers(0, 8), multiple=multiples)
@example(height=38, width=8, area=300, overlap=8, multiple=8)
@settings(max_examples=200, deadline=None)
def test_no_grid_of_equal_tiles_computes_fewer_pixels(height, width, area, overlap, multiple):
    """The oracle tries every size of a tile, and as many of them as cover the image."""

    def parts(side, part):
        return 1 if part >= side else -(-(side - overlap) // (part - overlap))

    def lengths(side):
        return {side, *range(up(overlap + 1, multiple), side + 1, multiple)}

    grid = tile_grid(height, width, area, overlap, multiple)
    if height * width <= area:
        assert len(grid) == 1
        return
    computed = len(grid) * up(grid[0].height, multiple) * up(grid[0].width, multiple)
    possible = [
        parts(height, tall) * parts(width, wide) * up(tall, multiple) * up(wide, multiple)
        for tall, wide in itertools.product(lengths(height), lengths(width))
        if up(tall, multiple) * up(wide, multiple) <= area
    ]
    assert computed <= min(possible)


@pytest.mark.parametrize(
    ("height", "width", "tiles", "shape"),
    [(900, 1200, 2, (512, 1200)), (768, 1400, 2, (768, 768)), (1024, 1024, 1, (1024, 1024))],
)
def test_the_tiles_of_usual_photos(height, width, tiles, shape):
    grid = tile_grid(height, width, 1024 * 1024, 96, 64)
    assert len(grid) == tiles and {(tile.height, tile.width) for tile in grid} == {shape}


@pytest.mark.parametrize(("height", "width"), [(65535, 760), (760, 65535), (65535, 1), (6000, 8300)])
def test_every_size_that_is_accepted_has_a_grid(height, width):
    grid = tile_grid(height, width, 1024 * 1024, 96, 64)
    assert len(grid) * up(grid[0].height, 64) * up(grid[0].width, 64) < 1.3 * up(height, 64) * up(width, 64)


def test_an_image_that_fits_is_one_tile():
    assert len(tile_grid(40, 30, 1200, 8)) == 1


def test_a_negative_overlap_is_refused():
    with pytest.raises(ValueError, match="got an overlap of -1 px, expected 0 or more"):
        tile_grid(50, 50, 256, -1)


@given(height=sides, width=sides, area=areas, overlap=overlaps, multiple=multiples)
@settings(max_examples=100, deadline=None)
def test_blending_identical_tiles_is_the_identity(height, width, area, overlap, multiple):
    image = torch.rand(3, height, width)
    result = blended(height, width, area, overlap, lambda tile: tile.crop(image), multiple)
    torch.testing.assert_close(result, image)


def test_tiles_without_overlap_are_placed_side_by_side():
    image = torch.rand(3, 32, 48)
    assert torch.equal(blended(32, 48, 16 * 16, 0, lambda tile: tile.crop(image)), image)


def test_neighboring_tiles_fade_linearly_into_each_other():
    """Two tiles of different brightness: the blend rises evenly within the overlap."""
    overlap, brightness = 9, [0.0, 1.0]
    row = blended(1, 31, 20, overlap, lambda tile: torch.full((3, 1, 20), brightness[tile.index]))[0, 0]
    steps = row.diff()
    assert row[0] == 0
    assert row[-1] == 1
    assert steps.min() >= 0
    assert steps.max() == pytest.approx(1 / (overlap + 1), abs=1e-5)


def test_weights_ramp_only_toward_neighbors():
    assert feather_weights(6, 0, 6, 3).tolist() == [1, 1, 1, 1, 1, 1]
    assert feather_weights(6, 0, 20, 3).tolist() == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])
    assert feather_weights(6, 14, 20, 3).tolist() == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert feather_weights(4, 5, 20, 0).tolist() == [1, 1, 1, 1]


class TestAConvolutionalNetworkInTiles:
    """Three 3 x 3 layers see 3 pixels in each direction: beyond them, tiles must match the whole image."""

    reach = 3

    @pytest.fixture
    def network(self):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh()]
        return nn.Sequential(*layers, nn.Conv2d(8, 3, 3, padding=1)).requires_grad_(False)

    @pytest.fixture
    def image(self):
        return torch.rand(3, 70, 100, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def test_away_from_seams_the_result_is_that_of_the_whole_image(self, network, image):
        side, overlap = 40, 12
        result = blended(70, 100, side * side, overlap, lambda tile: network(tile.crop(image)[None])[0])
        affected = torch.zeros(70, 100, dtype=torch.bool)
        for tile in tile_grid(70, 100, side * side, overlap):
            rim = torch.ones(tile.height, tile.width, dtype=torch.bool)
            above, left = (self.reach if start else 0 for start in (tile.top, tile.left))
            below = self.reach if tile.top + tile.height < 70 else 0
            right = self.reach if tile.left + tile.width < 100 else 0
            rim[above : tile.height - below, left : tile.width - right] = False
            tile.crop(affected).logical_or_(rim)
        assert 0.4 < (~affected).float().mean() < 1
        assert_parity(result[:, ~affected], network(image[None])[0][:, ~affected])

    def test_across_seams_feathering_keeps_the_error_small(self, network, image):
        whole = network(image[None])[0]
        feathered = blended(70, 100, 1600, 12, lambda tile: network(tile.crop(image)[None])[0])
        abutting = blended(70, 100, 1600, 0, lambda tile: network(tile.crop(image)[None])[0])
        assert (feathered - whole).abs().max() < 0.35 * (abutting - whole).abs().max()
