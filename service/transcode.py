"""Converts a stored image to another format or quality."""

from jobs.spec import Format
from models.errors import PhotoError
from models.photo.read import Limits, read_photo
from models.photo.write import encode_photo
from service.refusals import NotAcceptable

RESULT_LIMITS = Limits(pixels=2 * 10**8, file_bytes=2 * 2**30)
"""Generous: our own workers wrote these images, and their inputs were within the upload limits."""


def transcode(data: bytes, format: Format, quality: int | None) -> bytes:
    """Decode and encode an image, with profile, alpha and EXIF.

    Large images take seconds, so call this in a thread.

    Raises:
        NotAcceptable: the format cannot hold the image.
    """
    try:
        return encode_photo(read_photo(data, RESULT_LIMITS), format, quality)
    except PhotoError as error:
        raise NotAcceptable(str(error), hint="ask for another format") from error
