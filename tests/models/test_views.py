"""Views: the crops that an assessor classifies."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.views import native_views, overview, weighted_views

sides = st.integers(1, 90)


@given(height=sides, width=sides, side=st.integers(1, 40), max_views=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_views_are_square_limited_in_number_and_taken_from_the_image(height, width, side, max_views):
    image = torch.rand(3, height, width)
    found = list(native_views(image, side, max_views))
    assert 1 <= len(found) <= max_views
    assert {tuple(view.shape) for view in found} == {(3, side, side)}
    assert torch.isin(torch.stack(found), image).all(), "reflected pixels are pixels of the image, too"


def test_views_reach_all_four_corners():
    image = torch.arange(100.0 * 140).view(1, 100, 140).expand(3, -1, -1)
    found = torch.stack(list(native_views(image, 48, 9)))
    for y, x in [(0, 0), (0, 139), (99, 0), (99, 139)]:
        assert (found == image[0, y, x]).any()


def test_an_image_of_the_size_of_a_view_is_one_view():
    image = torch.rand(3, 48, 48)
    (only,) = native_views(image, 48, 9)
    assert torch.equal(only, image)


@pytest.mark.parametrize(("height", "width", "count"), [(384, 384, 1), (400, 620, 2), (1800, 300, 2), (180, 1000, 0)])
def test_an_overview_is_the_downscaled_image_and_empty_for_small_images(height, width, count):
    found = list(overview(torch.rand(3, height, width), 128))
    assert [view.shape for view in found] == [(3, 128, 128)] * count


def test_an_overview_averages_pixels():
    stripes = torch.zeros(3, 256, 256)
    stripes[:, :, ::2] = 1
    (found,) = overview(stripes, 128)
    torch.testing.assert_close(found, torch.full((3, 128, 128), 0.5))


def test_the_weights_of_views_sum_to_one_and_the_overview_has_its_share():
    views, weights = weighted_views(torch.rand(3, 300, 300), 100, 4, 0.2)
    assert len(views) == len(weights) == 5
    assert sum(weights) == pytest.approx(1)
    assert weights[-1] == pytest.approx(0.2)
    assert weighted_views(torch.rand(3, 100, 100), 100, 4, 0.2)[1] == [1.0], "a small image has no overview"
