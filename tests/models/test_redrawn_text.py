"""Small text that was redrawn is told from text that was kept, cleaned, sharpened or brightened."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from models.image_change import change_between
from models.pixels import as_image
from models.redrawn_text import redrawn_text

SIZE = (320, 240)
LINES = ("The quick brown fox jumps", "over 1234567890 lazy dogs", "BOARDING GATE 42 at 17:35")
OTHERS = ("Tle qnick hrowm tox jnmqs", "ovcr 7Z8A561O3B luzy bogs", "BOADRINC GAIE 1Z ar 11:88")


def scene(seed=1):
    """A smooth scene with some texture."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(60, 200, (6, 8, 3), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    return np.asarray(coarse).astype(float) + draw.normal(0, 3, (SIZE[1], SIZE[0], 3))


def with_text(lines, background):
    image = Image.fromarray(np.clip(background, 0, 255).astype(np.uint8))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
    pen.rectangle((20, 60, 300, 160), fill=(235, 235, 230))
    for row, line in enumerate(lines):
        pen.text((28, 66 + 30 * row), line, fill=(20, 20, 25), font=font)
    return np.asarray(image).astype(float)


def warned(before, after):
    one, two = (as_image(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)) for pixels in (before, after))
    return [warning.code for warning in redrawn_text(one, two, change_between(one, two))]


def noisy(pixels, sigma, seed=2):
    return pixels + np.random.default_rng(seed).normal(0, sigma, pixels.shape)


def blurred(pixels, radius):
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius))).astype(float)


TEXT, OTHER = with_text(LINES, scene()), with_text(OTHERS, scene())


@pytest.mark.parametrize("sigma", [0, 10, 25])
def test_other_letters_are_redrawn_text(sigma):
    assert warned(noisy(TEXT, sigma), OTHER) == ["redrawn-text"]


KEPT = {
    "nothing changed": (TEXT, TEXT),
    "noise was removed": (noisy(TEXT, 25), TEXT),
    "much noise was removed": (noisy(TEXT, 50), TEXT),
    "blur was removed": (blurred(TEXT, 1.0), TEXT),
    "it was darkness": (TEXT * 0.3, TEXT),
    "it was haze": (TEXT * 0.5 + 110, TEXT),
    "a scene without text": (noisy(scene(), 25), scene()),
    "foliage lost its noise": (noisy(scene(), 60), blurred(scene(), 1)),
}


@pytest.mark.parametrize("case", KEPT)
def test_text_that_says_the_same_is_not(case):
    assert warned(*KEPT[case]) == []


def test_large_photos_are_looked_at_in_strips_with_the_same_answer():
    before, after = (np.tile(pixels, (6, 1, 1)) for pixels in (TEXT, OTHER))
    assert warned(before, after) == ["redrawn-text"]


@pytest.mark.parametrize("size", [(1, 1), (16, 200), (63, 64), (65, 79)])
def test_any_size_is_taken(size):
    before, after = torch.zeros(3, *size, dtype=torch.uint8), torch.full((3, *size), 255, dtype=torch.uint8)
    assert redrawn_text(before, after, change_between(before, after)) == ()
