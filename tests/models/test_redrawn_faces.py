"""Faces that became other faces are told from faces that were kept, cleaned, sharpened or brightened."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from models.image_change import change_between
from models.pixels import as_image
from models.redrawn_faces import faces_are_checked, find_faces, redrawn_faces

data = pytest.importorskip("skimage.data", reason="needs the extra faces")
PORTRAITS = Path(__file__).parents[3] / "shared" / "eval" / "inpaint" / "gt"


def levels(image):
    return np.asarray(image.convert("RGB")).astype(float)


def portrait(number):
    """One of the aligned portraits beside the checkout."""
    found = sorted(PORTRAITS.glob("celebahq_*.png"))
    if len(found) <= number:
        pytest.skip("../shared/eval/inpaint is not there")
    with Image.open(found[number]) as image:
        return levels(image)


def astronaut():
    """A face of 90 px in a photo of 512 px, in the public domain."""
    return data.astronaut().astype(float)


def noisy(pixels, sigma):
    return pixels + np.random.default_rng(2).normal(0, sigma, pixels.shape)


def blurred(pixels, radius):
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return levels(image.filter(ImageFilter.GaussianBlur(radius)))


def images(*pictures):
    return [as_image(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)) for pixels in pictures]


def warned(before, after):
    one, two = images(before, after)
    return [warning.code for warning in redrawn_faces(one, two, change_between(one, two))]


KEPT = {
    "nothing changed": lambda face: face,
    "noise": lambda face: noisy(face, 25),
    "much noise": lambda face: noisy(face, 50),
    "blur": lambda face: blurred(face, 3),
    "darkness with noise": lambda face: noisy(face * 0.3, 15),
    "haze": lambda face: face * 0.5 + 110,
}


@pytest.mark.parametrize("case", KEPT)
def test_a_face_that_was_repaired_is_not_redrawn(case):
    assert warned(KEPT[case](astronaut()), astronaut()) == []


def test_a_face_with_other_features_is_redrawn():
    before, after = astronaut(), astronaut()
    top, left = 60, 170  # around the face
    after[top : top + 110, left : left + 110] = before[top : top + 110, left + 109 : left - 1 : -1]  # mirrored
    assert warned(before, after) == ["redrawn-face"]
    assert warned(noisy(before, 25), after) == ["redrawn-face"]


@pytest.mark.parametrize("other", [1, 2, 3])
@pytest.mark.parametrize("damage", ["nothing changed", "much noise", "blur"])
def test_the_face_of_another_person_is_redrawn(other, damage):
    assert warned(KEPT[damage](portrait(0)), portrait(other)) == ["redrawn-face"]


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("damage", ["much noise", "darkness with noise"])
def test_a_portrait_that_was_repaired_is_not_redrawn(number, damage):
    assert warned(KEPT[damage](portrait(number)), portrait(number)) == []


def test_a_large_photo_is_compared_in_its_own_pixels():
    before = np.kron(astronaut(), np.ones((3, 3, 1)))
    after = before.copy()
    after[180:510, 510:840] = before[180:510, 839:509:-1]
    assert warned(before, after) == ["redrawn-face"]
    assert warned(noisy(before, 40), before) == []


@pytest.mark.parametrize("name", ["cat", "coffee", "rocket", "grass", "brick"])
def test_what_is_no_face_is_not_found(name):
    picture = getattr(data, name)()
    picture = np.stack([picture] * 3, axis=2) if picture.ndim == 2 else picture
    assert find_faces(np.ascontiguousarray(picture)) == []


@pytest.mark.parametrize("size", [(1, 1), (16, 200), (39, 64), (65, 79)])
def test_any_size_is_taken(size):
    before, after = torch.zeros(3, *size, dtype=torch.uint8), torch.full((3, *size), 255, dtype=torch.uint8)
    assert redrawn_faces(before, after, change_between(before, after)) == ()


def test_it_is_known_whether_faces_are_looked_for():
    assert faces_are_checked()
