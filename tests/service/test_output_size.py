"""Crop and scale are checked against an upload before a job is queued."""

import asyncio

import pytest
from photo_samples import encoded as encoded_image
from PIL import Image

from jobs.spec import JobControls
from service.image_header import read_header
from service.output_size import check_output
from service.refusals import InvalidRequest
from service.upload_refusals import TooManyPixels


def upload(size=(40, 20), orientation=1, format="jpeg"):
    exif = Image.Exif()
    exif[274] = orientation
    return encoded_image(Image.new("RGB", size), format, exif=exif.tobytes())


def check(data, max_megapixels=50.0, **controls):
    asyncio.run(check_output(data, read_header(data, 50.0), JobControls(**controls), max_megapixels))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_counts_pixels_of_the_upright_image(orientation):
    turned = orientation >= 5
    inside, beyond = ((0, 0, 20, 40), (0, 0, 40, 20)) if turned else ((0, 0, 40, 20), (0, 0, 20, 40))
    data = upload(orientation=orientation)
    check(data, crop=inside)
    with pytest.raises(InvalidRequest, match=f"which has {'20 x 40' if turned else '40 x 20'} px"):
        check(data, crop=beyond)


@pytest.mark.parametrize("crop", [(39, 0, 2, 1), (0, 19, 1, 2), (40, 0, 1, 1), (2**31 - 1, 0, 1, 1)])
def test_a_crop_beyond_the_image_is_refused_by_name(crop):
    with pytest.raises(InvalidRequest) as refused:
        check(upload(), crop=crop)
    assert [error["field"] for error in refused.value.extra["errors"]] == ["crop"]


def test_an_enlargement_is_bounded_by_the_pixels_of_its_result():
    check(upload(), max_megapixels=0.0032, scale=2)
    with pytest.raises(TooManyPixels, match="40 x 20 px enlarged by 2 are 80 x 40"):
        check(upload(), max_megapixels=0.0031, scale=2)
    check(upload(), max_megapixels=0.0031, scale=4, crop=(0, 0, 10, 10))


def test_without_them_nothing_is_looked_at():
    asyncio.run(check_output(b"", read_header(upload(), 50.0), JobControls(), 50.0))
