"""Reads photo files: pixels, and everything that must survive a restoration.

The EXIF orientation is applied.  The ICC profile, alpha, EXIF (without location), 16-bit depth and grayscale are kept.
Size limits are checked on the header, before anything is decoded.  Never imports torch: processes without torch use it.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16.
"""

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.errors import PhotoError, PhotoTooLarge
from models.photo.cmyk import cmyk_to_srgb
from models.photo.color_encoding import to_displayed
from models.photo.content import check_content, open_image
from models.photo.declared_encoding import declared_encoding
from models.photo.decode import Findings, decode_completely
from models.photo.decoder_errors import SUPPORTED, decoder_errors
from models.photo.exif import exif_to_keep
from models.photo.jpeg import coarsely_quantized
from models.photo.metadata import GAIN_MAP_LOSS, Metadata, depth_loss, read_metadata
from models.photo.orientation import apply_orientation, orientation_of
from models.photo.tiff_sizes import check_decoded_size
from models.warning_codes import CodedWarning, coded

Samples = NDArray[np.uint8] | NDArray[np.uint16]

FORMATS: dict[str, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif",),
}
"""The formats that can be read and written, with their file extensions; the first extension is the usual one."""

GRAY_MODES = ("1", "L", "LA", "La")
"""Pillow's modes of grayscale images."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Larger photos are refused before they are decoded.  Services set their own limits."""

    pixels: int = 50_000_000
    file_bytes: int = 400 * 2**20  # 419 MB: 50 megapixels of uncompressed 16-bit RGBA
    side_px: int = 65_535


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A decoded photo with the metadata for its restored file."""

    pixels: Samples  # (H, W, 3)
    format: str  # a key of FORMATS
    alpha: Samples | None = None  # (H, W)
    icc: bytes | None = None
    exif: bytes | None = None  # without orientation and location
    gray: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    warnings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    """What the file holds beside this photo, such as "its further images".  Replacing the file would destroy it."""
    whole: Samples | None = None  # (H', W', 3): the pixels that this photo was cut out of
    small: Samples | None = None  # (H / s, W / s, 3): what this opaque photo was enlarged from
    compressed: bool = False  # whether the file was quantized coarsely (JPEG)
    hidden: Samples | None = None  # (N, 3): the pixels under alpha 0, where `pixels` are filled (transparency.py)

    @property
    def sixteen_bit(self) -> bool:
        return self.pixels.dtype == np.uint16


def format_of(name: str | Path) -> str | None:
    """Returns the format of a file name's extension; None if it is unknown."""
    extension = Path(name).suffix.lower()
    return next((key for key, extensions in FORMATS.items() if extension in extensions), None)


def read_photo(source: Path | bytes, limits: Limits | None = None) -> Photo:
    """Decode a JPEG, PNG, WebP, TIFF or AVIF file completely; only of a JPEG that is cut, the rest is read.

    Raises:
        PhotoTooLarge: the file or image is over the limits, according to its header.
        UnsupportedPhoto: the file is a camera raw, contains several pictures, or has an unusual kind of samples.
        PhotoError: the file is missing, damaged, or not a supported photo; the message says what to do.
    """
    limits = limits or Limits()
    name = str(source) if isinstance(source, Path) else "the data"
    data = _read_file(source, limits) if isinstance(source, Path) else source
    _check_bytes(len(data), limits, name)
    with decoder_errors(name, data):
        content = check_content(data, name)
        with open_image(content) as image:
            format = _supported_format(image, name)
            _check_size(content.tiff.size if content.tiff else image.size, limits, name)
            if content.tiff:
                check_decoded_size(content.tiff, content.data, limits.pixels, name)
            samples, found = decode_completely(content, image, name)
            if samples is not None:
                photo = _photo_of_samples(samples, image, format, name, found)
            else:
                photo = _eight_bit_photo(image, format, name, found)
            return _with_metadata(photo, content.data, image, name)


def _with_metadata(photo: Photo, data: bytes, image: Image.Image, name: str) -> Photo:
    """Add what the file holds beside the pixels, and convert the pixels to a color encoding like sRGB."""
    metadata, losses = read_metadata(data, image, photo.format)
    color = to_displayed(photo.pixels, photo.icc, declared_encoding(data, image, photo.format), gray=photo.gray)
    depth_losses = depth_loss(data, image, photo.format, photo.pixels.itemsize * 8)
    notes = (
        *coded(color.warnings, "converted-color"), *coded(losses, "lost-metadata"),
        *coded(depth_losses, "reduced-depth"),
    )  # fmt: skip
    hdr = ("its HDR",) if GAIN_MAP_LOSS in losses or any("HDR" in note for note in color.warnings) else ()
    return replace(
        photo, pixels=color.pixels, icc=color.icc, metadata=metadata,
        warnings=(*photo.warnings, *(note.about(name) for note in notes)),
        losses=photo.losses + hdr,
    )  # fmt: skip


def _read_file(path: Path, limits: Limits) -> bytes:
    try:
        if path.is_dir():
            raise PhotoError(f"{path} is a folder, not a photo. Give a {SUPPORTED} file.")
        if path.is_file():  # a pipe has no size
            _check_bytes(path.stat().st_size, limits, str(path))
        with path.open("rb") as file:
            return file.read(limits.file_bytes + 1)
    except OSError as error:
        raise PhotoError(f"cannot read {path}: {error.strerror}.") from error


def _check_bytes(count: int, limits: Limits, name: str) -> None:
    if count == 0:
        raise PhotoError(f"{name} is empty (0 bytes). Download or save it again.")
    if count > limits.file_bytes:
        raise PhotoTooLarge(
            f"{name} is too large: got at least {count / 1e6:.0f} MB, expected at most "
            f"{limits.file_bytes / 1e6:.0f} MB. Scale it down or compress it first."
        )


def _supported_format(image: Image.Image, name: str) -> str:
    found = str(image.format).lower()
    format = "jpeg" if found == "mpo" else found  # MPO is a JPEG with further images behind the first
    if format not in FORMATS:
        raise PhotoError(f"{name} is a {image.format} file, expected {SUPPORTED}. Convert it first.")
    return format


def _check_size(size: tuple[int, int], limits: Limits, name: str) -> None:
    width, height = size
    if width * height > limits.pixels or max(size) > limits.side_px:
        raise PhotoTooLarge(
            f"{name} is too large: got {width} x {height} = {width * height / 1e6:.1f} megapixels, expected at most "
            f"{limits.pixels / 1e6:g} megapixels and {limits.side_px} px a side. Scale it down first."
        )


def _eight_bit_photo(image: Image.Image, format: str, name: str, found: Findings) -> Photo:
    """Build a photo from a loaded Pillow image of any mode with 8 bits a sample."""
    if image.mode[0] in "IF":
        raise PhotoError(f"{name} has {image.mode} samples, expected 8 or 16 bits. Save it as 16-bit {format.upper()}.")
    warnings = list(coded(found.warnings, "damaged-image"))
    compressed = coarsely_quantized(getattr(image, "quantization", {}))
    exif, icc = exif_to_keep(image), image.info.get("icc_profile")
    image.load()  # a TIFF; the others are loaded already
    orientation = orientation_of(image)  # 1 for a loaded TIFF: Pillow applies its orientation
    alpha, gray = None, image.mode in GRAY_MODES
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("LA" if gray else "RGBA")
        alpha = apply_orientation(np.asarray(image.getchannel("A")), orientation)
    if image.mode in ("CMYK", "LAB"):
        image, warning = _convert_to_srgb(image, icc)
        icc = None  # it describes the old color space
        warnings.append(CodedWarning(f"{name}: {warning}", "converted-color"))
    pixels = apply_orientation(np.asarray(image.convert("RGB")), orientation)
    return Photo(
        pixels=pixels, format=format, alpha=alpha, icc=icc, exif=exif, gray=gray, warnings=tuple(warnings),
        losses=found.losses, compressed=compressed,
    )  # fmt: skip


def _convert_to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, str]:
    """Convert CMYK or Lab to sRGB, with the embedded profile if it works; returns a warning for the user, too."""
    warning = f"{image.mode} was converted to sRGB"
    try:
        if image.mode == "LAB":
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif icc:
            profile, warning = ImageCms.ImageCmsProfile(io.BytesIO(icc)), f"{warning} with its color profile"
        else:
            return image.convert("RGB"), warning
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a profile that cannot be opened is an OSError
        return image.convert("RGB"), f"{image.mode} was converted to sRGB without its color profile, which is damaged"
    assert converted is not None, "profileToProfile returns a new image unless inPlace is set"
    return converted, warning


def _photo_of_samples(samples: Samples, image: Image.Image, format: str, name: str, found: Findings) -> Photo:
    """Build a photo from decoded samples (H, W, C) and the metadata of the same file opened by Pillow."""
    icc, warnings = image.info.get("icc_profile"), coded(found.warnings, "damaged-image")
    if found.cmyk:
        samples, warning = cmyk_to_srgb(samples, icc)
        icc, warnings = None, (*warnings, CodedWarning(f"{name}: {warning}", "converted-color"))
    upright = _upright(samples, orientation_of(image))
    gray, has_alpha = upright.shape[2] <= 2, upright.shape[2] in (2, 4)
    colors = cast(Samples, np.repeat(upright[..., :1], 3, axis=2) if gray else np.ascontiguousarray(upright[..., :3]))
    return Photo(
        pixels=colors,
        format=format,
        alpha=upright[..., -1].copy() if has_alpha else None,
        icc=icc,
        exif=exif_to_keep(image),
        gray=gray,
        warnings=warnings,
        losses=found.losses,
    )


def _upright(samples: Samples, orientation: int) -> Samples:
    upright: Samples
    if samples.dtype == np.uint8:
        upright = apply_orientation(samples.astype(np.uint8, copy=False), orientation)
    else:
        upright = apply_orientation(samples.astype(np.uint16, copy=False), orientation)
    return upright
