"""Checks a photo file before it is decoded: whether it is whole, and whether it is a single photo of a supported kind.

Decoders differ in what they forgive, and some forgive silently.  So the structure of each format is walked here, and
only a file that is whole reaches a decoder.
"""

import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from models.errors import PhotoError, UnsupportedPhoto
from models.photo.boxes import check_avif, check_webp
from models.photo.camera_raw import raw_kind, raw_kind_of_tiff
from models.photo.jpeg import JpegStructure, read_structure, repaired, unsupported_jpeg
from models.photo.png import SIGNATURE as PNG_SIGNATURE
from models.photo.png import check_png, several_pictures
from models.photo.tiff_decode import check_samples
from models.photo.tiff_directories import SIGNATURES as TIFF_SIGNATURES
from models.photo.tiff_directories import Directory, Tag, check_segments, read_directories


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file whose structure was checked."""

    data: bytes
    """The file, without damaged metadata."""
    warnings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    jpeg: JpegStructure | None = None
    tiff: Directory | None = None


def check_content(data: bytes, name: str) -> Content:
    """Check the structure of a file by its signature; unknown files pass, and the decoder refuses them.

    Raises:
        UnsupportedPhoto: the file is a camera raw, or another kind that is not restored.
        PhotoError: it is damaged, holds several pictures, or would take too long to decode.
    """
    if kind := raw_kind(data):
        raise _raw(name, kind)
    if data.startswith(b"\xff\xd8"):
        return Content(data=data, jpeg=_checked_jpeg(data, name))
    if data.startswith(PNG_SIGNATURE):
        whole, warnings = check_png(data, name)
        return Content(data=whole, warnings=warnings)
    if data[:4] in TIFF_SIGNATURES:
        return _checked_tiff(data, name)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        check_webp(data, name)
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        check_avif(data, name)
    return Content(data=data)


def check_kind(data: bytes, name: str) -> Directory | None:
    """Check only what a header tells; returns the directory of a TIFF.

    Raises:
        UnsupportedPhoto: the file is a camera raw, or another kind that is not restored.
        PhotoError: it holds several pages, is damaged, or would take too long to decode.
    """
    if kind := raw_kind(data):
        raise _raw(name, kind)
    if data.startswith(b"\xff\xd8"):
        _checked_jpeg(data, name)
    return _checked_tiff(data, name).tiff if data[:4] in TIFF_SIGNATURES else None


def open_image(content: Content) -> Image.Image:
    """Open a checked file with Pillow, for its metadata; a TIFF that Pillow does not know opens without pixels."""
    data = repaired(content.data, content.jpeg) if content.jpeg else content.data
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if not content.tiff:
            raise
    image = Image.new("L", (1, 1))
    image.format = "TIFF"
    image.info["exif"] = b"Exif\0\0" + data  # EXIF is a TIFF file
    profile = content.tiff.values.get(Tag.ICC_PROFILE, ())
    if profile and max(profile) < 256:
        image.info["icc_profile"] = bytes(profile)
    return image


def _checked_jpeg(data: bytes, name: str) -> JpegStructure:
    structure = read_structure(data, name)
    if kind := unsupported_jpeg(structure):
        raise UnsupportedPhoto(
            f"{name} is {kind}, expected a baseline or progressive JPEG with 8 bits a sample. "
            "Convert it to a 16-bit PNG or TIFF first."
        )
    return structure


def _checked_tiff(data: bytes, name: str) -> Content:
    directories = read_directories(data, name)
    if kind := raw_kind_of_tiff(directories):
        raise _raw(name, kind)
    pages = [directory for directory in directories if directory.is_page] or directories[:1]
    if len(pages) > 1 or pages[0] is not directories[0]:
        raise several_pictures(name, max(len(pages), 2), "pages")
    check_samples(pages[0], name)
    check_segments(pages[0], data, name)
    losses = ("its Photoshop layers",) if Tag.PHOTOSHOP_LAYERS in pages[0].values else ()
    if any(child.is_page for child in pages[0].children):
        losses = (*losses, "its further pictures")
    warnings = tuple(f"{name}: {lost} are not kept" for lost in losses)
    return Content(data=data, tiff=pages[0], losses=losses, warnings=warnings)


def _raw(name: str, kind: str) -> PhotoError:
    return UnsupportedPhoto(
        f"{name} is {kind} file: sensor data, not a finished photo. Develop it in a raw converter, and restore the "
        "16-bit TIFF or the JPEG that it exports."
    )
