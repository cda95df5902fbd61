"""Tiles cover an image, and the canvas blends them without seams."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_check import assert_parity
from torch import nn

from models.tiles import Canvas, feather_weights, tile_grid

sides = st.integers(1, 90)


def blended(height, width, side, overlap, restore):
    """Blend `restore(tile)` of every tile into one image."""
    canvas = Canvas(height, width, overlap)
    for tile in tile_grid(height, width, side, overlap):
        canvas.add(tile, restore(tile))
    return canvas.image()


@given(height=sides, width=sides, side=st.integers(2, 40), share=st.floats(0, 0.99))
@settings(max_examples=100, deadline=None)
def test_tiles_cover_every_pixel_have_one_shape_and_overlap_enough(height, width, side, share):
    overlap = int(share * side)
    grid = tile_grid(height, width, side, overlap)
    covered = torch.zeros(height, width)
    for tile in grid:
        tile.crop(covered).add_(1)
        assert tile.crop(covered).shape == (min(side, height), min(side, width))
    assert covered.min() >= 1
    assert [tile.index for tile in grid] == list(range(len(grid)))
    assert {tile.count for tile in grid} == {len(grid)}
    for starts in (sorted({tile.top for tile in grid}), sorted({tile.left for tile in grid})):
        assert all(b - a <= side - overlap for a, b in itertools.pairwise(starts))


def test_an_image_that_fits_is_one_tile():
    assert len(tile_grid(40, 30, 40, 8)) == 1


def test_an_overlap_as_large_as_the_tile_is_refused():
    with pytest.raises(ValueError, match="got an overlap of 16 px, expected 0 to 15"):
        tile_grid(50, 50, 16, 16)


@given(height=sides, width=sides, side=st.integers(2, 40), share=st.floats(0, 0.99))
@settings(max_examples=100, deadline=None)
def test_blending_identical_tiles_is_the_identity(height, width, side, share):
    image = torch.rand(3, height, width)
    result = blended(height, width, side, int(share * side), lambda tile: tile.crop(image))
    torch.testing.assert_close(result, image)


def test_tiles_without_overlap_are_placed_side_by_side():
    image = torch.rand(3, 32, 48)
    assert torch.equal(blended(32, 48, 16, 0, lambda tile: tile.crop(image)), image)


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
        result = blended(70, 100, side, overlap, lambda tile: network(tile.crop(image)[None])[0])
        affected = torch.zeros(70, 100, dtype=torch.bool)
        for tile in tile_grid(70, 100, side, overlap):
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
        feathered = blended(70, 100, 40, 12, lambda tile: network(tile.crop(image)[None])[0])
        abutting = blended(70, 100, 40, 0, lambda tile: network(tile.crop(image)[None])[0])
        assert (feathered - whole).abs().max() < 0.35 * (abutting - whole).abs().max()
