"""A stored picture in another format or quality."""

from jobs.spec import Format
from models.errors import PhotoError
from models.photo.read import Limits, read_photo
from models.photo.write import encode_photo
from service.refusals import NotAcceptable

OURS = Limits(pixels=2 * 10**8, file_bytes=2 * 2**30)
"""Pictures of our own workers: the input's limits have been kept long before."""


def transcode(data: bytes, kind: Format, quality: int | None) -> bytes:
    """Decode and encode, with profile, alpha and EXIF; takes seconds for large pictures, so call it in a thread.

    Raises:
        NotAcceptable: the format cannot hold the picture.
    """
    try:
        return encode_photo(read_photo(data, OURS), kind, quality)
    except PhotoError as error:
        raise NotAcceptable(str(error), hint="ask for another format") from error
