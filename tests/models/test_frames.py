"""Frames hold pictures and tiles in few shapes, at little cost."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.frames import FRAMES, MOST_PADDING, area, computed_px, framed_grid, padded_size
from worker.engine_startup import WARMED

NATIVE_PX, OVERLAP_PX, STRIDE = 1024 * 1024, 96, 64
sides = st.integers(1, 9000)


def up(length):
    return -(-length // STRIDE) * STRIDE


def test_there_are_at_most_24_frames_that_networks_of_every_stride_take():
    assert len(set(FRAMES)) == len(FRAMES) <= 24
    assert all(area(frame) <= NATIVE_PX and frame[0] % 64 == 0 and frame[1] % 64 == 0 for frame in FRAMES)


def test_the_shapes_that_an_engine_warms_up_are_frames():
    assert {shape[1:] for shape in WARMED} <= set(FRAMES)


@given(height=sides, width=sides)
@settings(max_examples=300, deadline=None)
def test_a_size_is_padded_to_a_frame_or_to_its_own_multiples(height, width):
    own = up(height), up(width)
    padded = padded_size(height, width, STRIDE, FRAMES)
    assert padded[0] >= height and padded[1] >= width
    assert padded == own or padded in FRAMES
    assert area(padded) <= MOST_PADDING * area(own)
    assert padded_size(height, width, STRIDE) == own


@given(height=sides, width=sides)
@settings(max_examples=100, deadline=None)
def test_tiles_in_frames_cover_the_picture_and_compute_little_more(height, width):
    tiles = framed_grid(height, width, NATIVE_PX, OVERLAP_PX, STRIDE, FRAMES)
    rows, columns = {tile.top for tile in tiles}, {tile.left for tile in tiles}
    for side, part, starts in ((height, tiles[0].height, rows), (width, tiles[0].width, columns)):
        ordered = sorted(starts)
        assert ordered[0] == 0 and ordered[-1] + part == side
        assert all(after - before <= part - OVERLAP_PX for before, after in itertools.pairwise(ordered))
    fitted = computed_px(framed_grid(height, width, NATIVE_PX, OVERLAP_PX, STRIDE), STRIDE)
    assert computed_px(tiles, STRIDE, FRAMES) <= MOST_PADDING * fitted


def test_any_traffic_has_at_most_as_many_shapes_in_frames():
    generator = torch.Generator().manual_seed(0)
    shapes = set()
    for height, width in torch.randint(64, 6000, (600, 2), generator=generator).tolist():
        tiles = framed_grid(height, width, NATIVE_PX, OVERLAP_PX, STRIDE, FRAMES)
        shapes.add(padded_size(tiles[0].height, tiles[0].width, STRIDE, FRAMES))
    assert len(shapes & set(FRAMES)) <= 24
    assert len(shapes - set(FRAMES)) > 0, "sizes that no frame fits keep their own shape"


@pytest.mark.parametrize(("size", "frame"), [((512, 512), (512, 512)), ((500, 510), (512, 512)), ((64, 64), (64, 64))])
def test_usual_sizes(size, frame):
    assert padded_size(*size, STRIDE, FRAMES) == frame
