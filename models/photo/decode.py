"""Decodes the pixels of a checked file completely, or refuses them.

Only of a JPEG that is cut or damaged, the rest is read, with a warning that says how much is missing.
"""

import io
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from models.errors import UnsupportedPhoto
from models.photo.avif import decode_avif
from models.photo.content import Content
from models.photo.jpeg import damage_warning, repaired
from models.photo.orientation import apply_orientation, orientation_of
from models.photo.png import check_pixels, several_pictures
from models.photo.sixteen_bit import decode_png
from models.photo.tiff_decode import CMYK, decode_tiff
from models.photo.tiff_directories import Tag
from models.warning_codes import CodedWarning

Samples = NDArray[np.uint8] | NDArray[np.uint16]

FAX = (2, 3, 4)
"""TIFF compressions of CCITT."""
FURTHER_FILES = re.compile(rb"\xff\xd8\xff|ftyp")
"""Starts of a JPEG and of a video, which phones append to a photo."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What decoding told, beside the pixels."""

    warnings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    cmyk: bool = False
    """Whether the samples are inks."""


def decode_completely(content: Content, image: Image.Image, name: str) -> tuple[Samples | None, Findings]:
    """Returns samples (H, W, C) that Pillow cannot decode at full depth; or None, and `image` is loaded (TIFF: later).

    Raises:
        UnsupportedPhoto: the file has several frames, or an unusual kind of samples.
        PhotoError or an exception of the decoder: the pixels are damaged.
    """
    warnings, losses = content.warnings, content.losses
    if content.tiff:
        samples, more = decode_tiff(content.data, content.tiff, name)
        if samples is None and not isinstance(image, TiffImageFile):
            raise UnsupportedPhoto(f"{name} is an unusual TIFF. Save it as 8- or 16-bit RGB.")
        if samples is not None and content.tiff.get(Tag.COMPRESSION) in FAX:
            _check_fax(samples, content.data)
        losses = (*losses, "its further channels") if more else losses
        cmyk = content.tiff.get(Tag.PHOTOMETRIC) == CMYK
        return samples, Findings(warnings=(*warnings, *more), losses=losses, cmyk=cmyk)
    if (count := getattr(image, "n_frames", 1)) > 1:
        if not content.jpeg:
            raise several_pictures(name, count, "frames")
        # A camera's gain map, preview or second view
        sentence = f"{name} contains {count} images; only the first is restored"
        warnings = (*warnings, CodedWarning(sentence, "further-images"))
        losses = (*losses, "its further images")
        image.seek(0)
    if image.format == "PNG":
        check_pixels(content.data, name)
    image.load()  # before the metadata: reading those of a PNG loads the pixels too, and would hide the error
    if content.jpeg:
        whole = repaired(content.data, content.jpeg)
        if warning := damage_warning(image, whole, content.jpeg, name):
            warnings, losses = (*warnings, warning), (*losses, "its damaged part")
        if count <= 1 and FURTHER_FILES.search(content.data, content.jpeg.end):
            losses = (*losses, "the pictures or the video behind it")
    decode = {"PNG": decode_png, "AVIF": decode_avif}.get(str(image.format))
    samples = decode(content.data) if decode else None
    return samples, Findings(warnings=warnings, losses=losses)


def _check_fax(samples: Samples, data: bytes) -> None:
    """Compare with a second decoder: for damaged fax codes, both guess, and each differently.

    Raises:
        ValueError: they differ.
    """
    with Image.open(io.BytesIO(data)) as image:
        orientation = orientation_of(image)  # before loading, which applies it
        second = np.asarray(image.convert("L"))
    if not np.array_equal(apply_orientation(samples[..., 0].astype(np.uint8), orientation), second):
        raise ValueError("wrong fax codes")
