"""Checks the size of a result before a job is queued: a crop must lie within the image, an enlargement has a limit."""

import asyncio
import io

from PIL import Image

from jobs.spec import JobControls
from models.errors import UnfitControls
from models.photo.decoder_errors import DECODER_ERRORS
from models.photo.orientation import orientation_of
from models.photo.part import check_enlarged, check_part
from models.photo.read import Limits
from service.image_header import PARSERS, ImageHeader
from service.request_options import invalid_field
from service.upload_refusals import TooManyPixels


async def check_output(data: bytes, header: ImageHeader, controls: JobControls, max_megapixels: float) -> None:
    """Check crop and scale against the image; a crop counts pixels of the upright image.

    Raises:
        InvalidRequest: the crop is not within the image.
        TooManyPixels: the enlarged image is over the limit.
    """
    size = header.width_px, header.height_px
    if controls.crop is not None and _reaches_differently(size, controls):
        size = await asyncio.to_thread(_upright, data, size)
    try:
        width, height = check_part(*size, controls.crop)
    except UnfitControls as error:
        raise invalid_field("crop", str(error)) from error
    if controls.scale == 1:
        return
    try:
        check_enlarged(width, height, controls.scale, Limits(pixels=round(max_megapixels * 1e6)))
    except UnfitControls as error:
        raise TooManyPixels(str(error), hint="ask for a smaller scale, or for a crop") from error


def _reaches_differently(size: tuple[int, int], controls: JobControls) -> bool:
    """Return whether the orientation decides if the crop is within the image."""
    return _fits(size, controls) != _fits(size[::-1], controls)


def _fits(size: tuple[int, int], controls: JobControls) -> bool:
    try:
        check_part(*size, controls.crop)
    except UnfitControls:
        return False
    return True


def _upright(data: bytes, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the upright image; as it is stored where the header is damaged."""
    try:
        with Image.open(io.BytesIO(data), formats=PARSERS) as image:
            turned = orientation_of(image) in (5, 6, 7, 8)
    except (*DECODER_ERRORS, MemoryError):
        return size
    return size[::-1] if turned else size
