"""Pixels, padding, tiles and views against arithmetic."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.pixels import pad_to_multiple, to_pixels, to_tensor
from models.tiles import Canvas, feather, tiles
from models.views import overview, views

sides = st.integers(1, 90)


def blended(height, width, side, overlap, restore):
    """The whole image, put together from `restore(tile)`."""
    canvas = Canvas(height, width, overlap)
    for tile in tiles(height, width, side, overlap):
        canvas.add(tile, restore(tile))
    return canvas.image()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_survives_the_way_to_a_tensor_and_back(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    pixels = np.stack([values, values[::-1], np.roll(values, 1)], axis=-1).reshape(16, -1, 3)
    back = to_pixels(to_tensor(pixels), dtype)
    assert back.dtype == dtype
    assert np.array_equal(back, pixels)


def test_a_tensor_is_x_over_127_and_a_half_minus_one():
    tensor = to_tensor(np.array([[[0, 51, 255]]], dtype=np.uint8))
    assert tensor.shape == (3, 1, 1)
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, -0.6, 1.0]))


def test_pixels_are_clamped_and_rounded_or_truncated():
    image = torch.tensor([-3.0, 0.999, 7.0]).view(3, 1, 1)  # 0.999 is 254.87
    assert to_pixels(image).flatten().tolist() == [0, 255, 255]
    assert to_pixels(image, truncate=True).flatten().tolist() == [0, 254, 255]
    assert image.flatten().tolist() == pytest.approx([-3.0, 0.999, 7.0]), "the input is left as it was"


@given(
    height=sides, width=sides, multiple=st.sampled_from([1, 8, 16, 64]), mode=st.sampled_from(["constant", "reflect"])
)
@settings(max_examples=60, deadline=None)
def test_padding_reaches_the_multiple_and_is_cropped_back(height, width, multiple, mode):
    x = torch.rand(1, 3, height, width)
    padded = pad_to_multiple(x, multiple, mode)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple
    assert padded.shape[-1] - width < multiple
    assert torch.equal(padded[..., :height, :width], x)


def test_constant_padding_is_zero_and_reflection_mirrors():
    x = torch.arange(1.0, 7.0).view(1, 1, 1, 6)
    assert pad_to_multiple(x, 8)[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 0, 0]
    assert pad_to_multiple(x.expand(1, 1, 8, 6), 8, "reflect")[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 5, 4]


@given(height=sides, width=sides, side=st.integers(2, 40), share=st.floats(0, 0.99))
@settings(max_examples=100, deadline=None)
def test_tiles_cover_every_pixel_have_one_shape_and_overlap_enough(height, width, side, share):
    overlap = int(share * side)
    cuts = tiles(height, width, side, overlap)
    covered = torch.zeros(height, width)
    for cut in cuts:
        cut.cut(covered).add_(1)
        assert cut.cut(covered).shape == (min(side, height), min(side, width))
    assert covered.min() >= 1
    assert [cut.index for cut in cuts] == list(range(len(cuts)))
    assert {cut.count for cut in cuts} == {len(cuts)}
    for starts in (sorted({cut.top for cut in cuts}), sorted({cut.left for cut in cuts})):
        assert all(b - a <= side - overlap for a, b in itertools.pairwise(starts))


def test_an_image_that_fits_is_one_tile():
    assert len(tiles(40, 30, 40, 8)) == 1


def test_an_overlap_as_large_as_the_tile_is_refused():
    with pytest.raises(ValueError, match="got overlap 16, expected 0 to 15"):
        tiles(50, 50, 16, 16)


@given(height=sides, width=sides, side=st.integers(2, 40), share=st.floats(0, 0.99))
@settings(max_examples=100, deadline=None)
def test_blending_identical_tiles_is_the_identity(height, width, side, share):
    image = torch.rand(3, height, width)
    result = blended(height, width, side, int(share * side), lambda tile: tile.cut(image))
    torch.testing.assert_close(result, image)


def test_tiles_that_lie_edge_to_edge_are_put_side_by_side():
    image = torch.rand(3, 32, 48)
    assert torch.equal(blended(32, 48, 16, 0, lambda tile: tile.cut(image)), image)


def test_neighbors_fade_into_each_other_without_a_step():
    """Two tiles of different brightness: within the overlap the blend climbs evenly from one to the other."""
    overlap, brightness = 9, [0.0, 1.0]
    row = blended(1, 31, 20, overlap, lambda tile: torch.full((3, 1, 20), brightness[tile.index]))[0, 0]
    steps = row.diff()
    assert row[0] == 0
    assert row[-1] == 1
    assert steps.min() >= 0
    assert steps.max() == pytest.approx(1 / (overlap + 1), abs=1e-5)


def test_feathers_ramp_only_toward_neighbors():
    assert feather(6, 0, 6, 3).tolist() == [1, 1, 1, 1, 1, 1]
    assert feather(6, 0, 20, 3).tolist() == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])
    assert feather(6, 14, 20, 3).tolist() == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert feather(4, 5, 20, 0).tolist() == [1, 1, 1, 1]


class TestAConvolutionalNetworkInTiles:
    """Three 3 x 3 layers see 3 pixels far; tiles must be exact farther from their rims and close everywhere."""

    reach = 3

    @pytest.fixture
    def network(self):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh()]
        return nn.Sequential(*layers, nn.Conv2d(8, 3, 3, padding=1)).requires_grad_(False)

    @pytest.fixture
    def image(self):
        return torch.rand(3, 70, 100, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def test_away_from_seams_the_result_is_that_of_the_whole(self, network, image):
        side, overlap = 40, 12
        result = blended(70, 100, side, overlap, lambda tile: network(tile.cut(image)[None])[0])
        spoiled = torch.zeros(70, 100, dtype=torch.bool)
        for tile in tiles(70, 100, side, overlap):
            rim = torch.ones(tile.height, tile.width, dtype=torch.bool)
            above, left = (self.reach if start else 0 for start in (tile.top, tile.left))
            below = self.reach if tile.top + tile.height < 70 else 0
            right = self.reach if tile.left + tile.width < 100 else 0
            rim[above : tile.height - below, left : tile.width - right] = False
            tile.cut(spoiled).logical_or_(rim)
        assert 0.4 < (~spoiled).float().mean() < 1
        torch.testing.assert_close(result[:, ~spoiled], network(image[None])[0][:, ~spoiled], atol=1e-6, rtol=1e-5)

    def test_across_seams_the_feather_keeps_the_error_small(self, network, image):
        whole = network(image[None])[0]
        feathered = blended(70, 100, 40, 12, lambda tile: network(tile.cut(image)[None])[0])
        abutting = blended(70, 100, 40, 0, lambda tile: network(tile.cut(image)[None])[0])
        assert (feathered - whole).abs().max() < 0.35 * (abutting - whole).abs().max()


@given(height=sides, width=sides, side=st.integers(1, 40), most=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_views_are_square_few_and_from_the_image(height, width, side, most):
    image = torch.rand(3, height, width)
    seen = list(views(image, side, most))
    assert 1 <= len(seen) <= most
    assert {tuple(view.shape) for view in seen} == {(3, side, side)}
    assert torch.isin(torch.stack(seen), image).all(), "mirrored pixels are pixels of the image too"


def test_views_reach_all_four_corners():
    image = torch.arange(100.0 * 140).view(1, 100, 140).expand(3, -1, -1)
    seen = torch.stack(list(views(image, 48, 9)))
    for y, x in [(0, 0), (0, 139), (99, 0), (99, 139)]:
        assert (seen == image[0, y, x]).any()


def test_a_picture_of_the_views_size_is_one_view():
    image = torch.rand(3, 48, 48)
    (only,) = views(image, 48, 9)
    assert torch.equal(only, image)


@pytest.mark.parametrize(("height", "width", "count"), [(384, 384, 1), (400, 620, 2), (1800, 300, 2), (180, 1000, 0)])
def test_an_overview_is_the_shrunk_whole_or_nothing_for_small_pictures(height, width, count):
    seen = list(overview(torch.rand(3, height, width), 128))
    assert [view.shape for view in seen] == [(3, 128, 128)] * count


def test_an_overview_averages_the_pixels_it_shrinks():
    stripes = torch.zeros(3, 256, 256)
    stripes[:, :, ::2] = 1
    (seen,) = overview(stripes, 128)
    torch.testing.assert_close(seen, torch.full((3, 128, 128), 0.5))
