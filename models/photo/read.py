"""Image files and their pixels, with everything that must survive a restoration.

Orientation is applied; the ICC profile, alpha, EXIF (without GPS), 16 bits and grayness are kept.  Sizes are checked on
the header, before anything is decoded.  Torch-free, since other processes decode and encode.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from models.errors import PhotoError, PhotoTooLarge
from models.photo import sixteen_bit
from models.photo.exif import carried_exif, orientation_of

Samples = NDArray[np.uint8] | NDArray[np.uint16]
S = TypeVar("S", NDArray[np.uint8], NDArray[np.uint16])

FORMATS: dict[str, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif",),
}
"""What can be read and written, with the file endings of each; the first ending is the usual one."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused before decoding."""

    pixels: int = 50_000_000
    file_bytes: int = 400 * 2**20  # 50 megapixels of 16-bit RGBA, uncompressed; a service sets its own
    side_px: int = 65_535


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A decoded photo and what goes back into its file."""

    pixels: Samples  # (H, W, 3)
    format: str  # a key of FORMATS
    alpha: Samples | None = None  # (H, W)
    icc: bytes | None = None
    exif: bytes | None = None  # orientation reset, GPS removed
    gray: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def sixteen_bit(self) -> bool:
        return self.pixels.dtype == np.uint16


def format_of(name: str | Path) -> str | None:
    """The format that a file's ending stands for."""
    ending = Path(name).suffix.lower()
    return next((key for key, endings in FORMATS.items() if ending in endings), None)


def read_photo(source: Path | bytes, limits: Limits | None = None) -> Photo:
    """Decode a JPEG, PNG, WebP, TIFF or AVIF; of an animation its first picture.

    Raises:
        PhotoTooLarge: over the limits; known from the header.
        PhotoError: not there, not a photo, another format, or cut short; the message says which and what to do.
    """
    limits = limits or Limits()
    name = str(source) if isinstance(source, Path) else "the data"
    data = _bytes_of(source, limits) if isinstance(source, Path) else source
    _check_bytes(len(data), limits, name)
    with _sentences(name, data), Image.open(io.BytesIO(data)) as image:
        kind = _format(image, name)
        _check_size(image.size, limits, name)
        notes = []
        if getattr(image, "n_frames", 1) > 1:
            notes.append(f"{name} holds {getattr(image, 'n_frames', 1)} pictures; only the first is restored")
            image.seek(0)
        deep = {"png": sixteen_bit.decode_png, "tiff": sixteen_bit.decode_tiff}.get(kind)
        samples = deep(data) if deep else None
        if samples is not None:
            return _deep_photo(samples, image, kind, tuple(notes))
        return _photo(image, kind, name, notes)


def _bytes_of(path: Path, limits: Limits) -> bytes:
    try:
        if path.is_dir():
            raise PhotoError(f"{path} is a folder, not a photo.")
        if path.is_file():  # a pipe has no size
            _check_bytes(path.stat().st_size, limits, str(path))
        with path.open("rb") as file:
            return file.read(limits.file_bytes + 1)
    except OSError as error:
        raise PhotoError(f"cannot read {path}: {error.strerror}.") from error


def _check_bytes(count: int, limits: Limits, name: str) -> None:
    if count == 0:
        raise PhotoError(f"{name} is empty (0 bytes). Fetch or save it again.")
    if count > limits.file_bytes:
        raise PhotoTooLarge(
            f"{name} has {count / 2**20:.0f} MiB or more, the limit is {limits.file_bytes / 2**20:.0f}. "
            "Scale it down or compress it first."
        )


@contextmanager
def _sentences(name: str, data: bytes) -> Iterator[None]:
    """Turn the decoders' many exceptions into one sentence each."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and of large images, which are checked here
            yield
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, before a size can be asked for
        raise PhotoTooLarge(f"{name} has more megapixels than can be decoded safely. Scale it down first.") from error
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not an image that can be read{_looks_like(data)}. Give a {_KNOWN} file."
        ) from error
    except MemoryError as error:
        raise PhotoError(f"{name} does not fit into memory. Scale it down first.") from error
    except (*_DAMAGE,) as error:
        why = str(error) or type(error).__name__
        raise PhotoError(f"{name} is damaged or cut short ({why}). Fetch or save it again.") from error


_KNOWN = "JPEG, PNG, WebP, TIFF or AVIF"

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, RuntimeError, LookupError, TypeError,
           ArithmeticError, AttributeError)  # fmt: skip
"""All that the decoders were seen to raise on bytes that were flipped or cut off."""

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_SIGNATURES = (
    (b"<!doctype", "a web page"), (b"<html", "a web page"), (b"<?xml", "XML or SVG"), (b"<svg", "SVG"),
    (b"%pdf", "a PDF"), (b"pk\x03\x04", "a ZIP archive"),
)  # fmt: skip


def _looks_like(data: bytes) -> str:
    """What a file that is no photo seems to be, in brackets."""
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return " (it looks like a HEIC photo: export it as JPEG)"
    if data[:4] in TIFF_SIGNATURES:
        return " (it looks like a TIFF that is cut short or of an unusual kind: save it again as 8- or 16-bit RGB)"
    start = data[:200].lstrip().lower()
    return next((f" (it looks like {what})" for sign, what in _SIGNATURES if start.startswith(sign)), "")


def _format(image: Image.Image, name: str) -> str:
    kind = {"mpo": "jpeg"}.get(str(image.format).lower(), str(image.format).lower())
    if kind not in FORMATS:
        raise PhotoError(f"{name} is a {image.format} file, expected {_KNOWN}. Save it as one of these.")
    return kind


def _check_size(size: tuple[int, int], limits: Limits, name: str) -> None:
    width, height = size
    if width * height > limits.pixels or max(size) > limits.side_px:
        raise PhotoTooLarge(
            f"{name} has {width} x {height} = {width * height / 1e6:.1f} megapixels, the limit is "
            f"{limits.pixels / 1e6:g} (and {limits.side_px} px a side). Scale it down first."
        )


GRAY_MODES = ("1", "L", "LA", "La")


def _photo(image: Image.Image, kind: str, name: str, notes: list[str]) -> Photo:
    """8-bit samples of whatever mode the file has."""
    if image.mode[0] in "IF":
        raise PhotoError(f"{name} has {image.mode} samples, expected 8 or 16 bits. Save it as 16-bit {kind.upper()}.")
    exif, icc = carried_exif(image), image.info.get("icc_profile")
    image.load()
    orientation = orientation_of(image)  # 1 for a loaded TIFF: Pillow turns it by itself
    alpha, gray = None, image.mode in GRAY_MODES
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("LA" if gray else "RGBA")
        alpha = turned(np.asarray(image.getchannel("A")), orientation)
    if image.mode in ("CMYK", "LAB"):
        image, note = _to_srgb(image, icc)
        icc = None  # it describes the old color space
        notes.append(f"{name}: {note}")
    pixels = turned(np.asarray(image.convert("RGB")), orientation)
    return Photo(
        pixels=pixels, format=kind, alpha=alpha, icc=icc, exif=exif, gray=gray, warnings=tuple(notes)
    )  # fmt: skip


def _to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, str]:
    """CMYK or Lab as sRGB, through its own profile where it has one that works."""
    note = f"{image.mode} was converted to sRGB"
    try:
        if image.mode == "LAB":
            own = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif icc:
            own, note = ImageCms.ImageCmsProfile(io.BytesIO(icc)), f"{note} through its profile"
        else:
            return image.convert("RGB"), note
        converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a profile that cannot be opened is an OSError
        return image.convert("RGB"), f"{image.mode} was converted to sRGB without its profile, which is damaged"
    assert converted is not None, "profileToProfile makes a new image unless told inPlace"
    return converted, note


def _deep_photo(samples: NDArray[np.uint16], image: Image.Image, kind: str, notes: tuple[str, ...]) -> Photo:
    samples = turned(samples, orientation_of(image))
    gray, has_alpha = samples.shape[2] <= 2, samples.shape[2] in (2, 4)
    return Photo(
        pixels=np.repeat(samples[..., :1], 3, axis=2) if gray else np.ascontiguousarray(samples[..., :3]),
        format=kind,
        alpha=samples[..., -1].copy() if has_alpha else None,
        icc=image.info.get("icc_profile"),
        exif=carried_exif(image),
        gray=gray,
        warnings=notes,
    )


def turned(samples: S, orientation: int) -> S:
    """(H, W, ...) as the eight EXIF orientations mean it, in memory of its own."""
    if orientation in (5, 6, 7, 8):
        samples = np.swapaxes(samples, 0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.array(samples, order="C")
