"""What is no photograph is recognized however it was stored, and damaged photographs are not taken for it."""

import cv2
import numpy as np
import pytest
import torch
from scenes import scene

from models.pixels import as_image
from models.safety.photographs import is_photograph, kind_of
from models.safety.statistics import Statistics
from models.training.data.degradations import SYNTHESIZERS
from models.training.data.not_photographs import KINDS, draw

SIZES = ((200, 240), (240, 180), (160, 200))
LEAST_FOUND = {"blank": 1.0, "stars": 0.9, "page": 0.9, "graphic": 0.8}
"""Of shrunk pictures with modules of a pixel and a half, little is left to recognize."""


def kinds(kind, count, first=0):
    drawn = (draw(kind, np.random.default_rng([21, first + i]), *SIZES[i % 3]) for i in range(count))
    return [kind_of(Statistics(as_image(picture))) for picture in drawn]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_each_kind_are_recognized(kind):
    found = kinds(kind, 16)
    assert sum(one is not None for one in found) >= LEAST_FOUND[kind] * len(found), found


@pytest.mark.parametrize("level", [0, 1, 18, 128, 254, 255])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_a_frame_with_the_noise_of_a_sensor_is_blank(level, noise):
    rng = np.random.default_rng(level)
    frame = np.clip(np.rint(level + rng.normal(0, noise, (120, 160, 3))), 0, 255).astype(np.uint8)
    assert kind_of(Statistics(as_image(frame))) == "blank"


def checker(module, quality=None, turn=0):
    """Random squares in four colors; the module is in pixels."""
    rng = np.random.default_rng(module)
    palette = np.array([[20, 20, 120], [230, 90, 30], [120, 240, 180], [90, 100, 170]], np.uint8)
    art = palette[rng.integers(0, 4, (240 // module + 1, 320 // module + 1))].repeat(module, 0).repeat(module, 1)
    art = np.ascontiguousarray(np.rot90(art[:240, :320], turn))
    if quality:
        art = cv2.imdecode(cv2.imencode(".jpg", art, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return as_image(art)


@pytest.mark.parametrize(("module", "quality"), [(4, None), (8, None), (8, 90), (8, 75), (16, 75), (16, 60)])
@pytest.mark.parametrize("turn", [0, 1])
def test_pixel_art_is_a_graphic_also_as_jpeg_and_sideways(module, quality, turn):
    assert not is_photograph(checker(module, quality, turn))


@pytest.mark.parametrize("label", sorted(SYNTHESIZERS))
def test_a_damaged_photograph_is_a_photograph(label):
    truth = np.ascontiguousarray(((scene(4, 192) + 1) / 2).permute(1, 2, 0).numpy())
    for seed in range(3):
        damaged = SYNTHESIZERS[label](truth, np.random.default_rng(seed))
        pixels = np.clip(np.rint(damaged * 255), 0, 255).astype(np.uint8)
        assert is_photograph(as_image(pixels)), (label, seed)


@pytest.mark.parametrize("dark", [12, 20, 60])
def test_a_dark_photograph_is_one(dark):
    levels = ((scene(5, 192) + 1) / 2 * dark).round().to(torch.uint8)
    assert is_photograph(levels)


def test_snow_and_rain_at_night_are_no_stars():
    night = np.ascontiguousarray(((scene(6, 192) + 1) / 2).permute(1, 2, 0).numpy()) * 0.2
    for label in ("snow", "rain"):
        for seed in range(3):
            damaged = SYNTHESIZERS[label](night.astype(np.float32), np.random.default_rng(seed))
            assert is_photograph(as_image(np.clip(np.rint(damaged * 255), 0, 255).astype(np.uint8))), (label, seed)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (15, 15), (16, 16), (20, 500)])
def test_pictures_of_any_size_have_an_answer(size):
    noise = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert is_photograph(noise)


def test_a_large_picture_is_seen_everywhere():
    """A plain page with a photograph in one corner of it is no blank frame."""
    page = torch.full((3, 1300, 1300), 0.8)
    page[:, :400, :400] = scene(7, 400)
    assert is_photograph(page)
