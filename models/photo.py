"""Image files and their pixels, with everything that must survive a restoration.

Orientation is applied; the ICC profile, alpha, EXIF (without GPS), 16 bits and greyness are kept.  Sizes are checked on
the header, before anything is decoded.  Torch-free, since other processes decode and encode.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16.
"""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from models.errors import PhotoError, PhotoTooLarge

Samples = NDArray[np.uint8] | NDArray[np.uint16]

FORMATS: dict[str, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe"),
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
    file_bytes: int = 200 * 2**20
    side_px: int = 65_535


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A decoded photo and what goes back into its file."""

    pixels: Samples  # (H, W, 3)
    format: str  # a key of FORMATS
    alpha: Samples | None = None  # (H, W)
    icc: bytes | None = None
    exif: bytes | None = None  # orientation reset, GPS removed
    grey: bool = False
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
    if len(data) > limits.file_bytes:
        raise PhotoTooLarge(f"{name} has {len(data) / 2**20:.0f} MiB, the limit is {limits.file_bytes / 2**20:.0f}.")
    with _sentences(name, data), Image.open(io.BytesIO(data)) as image:
        kind = _format(image, name)
        _check_size(image.size, limits, name)
        notes = []
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            notes.append(f"{name} holds {frames} pictures; only the first is restored")
            image.seek(0)
        deep = _sixteen_bit(data, kind, image)
        if deep is not None:
            return _deep_photo(deep, image, kind, tuple(notes))
        return _photo(image, kind, notes)


def _bytes_of(path: Path, limits: Limits) -> bytes:
    try:
        if path.is_dir():
            raise PhotoError(f"{path} is a folder, not a photo.")
        size = path.stat().st_size
        if size == 0:
            raise PhotoError(f"{path} is empty (0 bytes).")
        if size > limits.file_bytes:
            raise PhotoTooLarge(f"{path} has {size / 2**20:.0f} MiB, the limit is {limits.file_bytes / 2**20:.0f}.")
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(f"cannot read {path}: {error.strerror}.") from error


@contextmanager
def _sentences(name: str, data: bytes) -> Iterator[None]:
    """Turn the decoders' many exceptions into one sentence each."""
    known = ", ".join(key.upper() for key in FORMATS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and of large images, which are checked here
            yield
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        page = " It looks like a web page." if data[:200].lstrip().lower().startswith((b"<!doctype", b"<html")) else ""
        raise PhotoError(f"{name} is not an image that can be read.{page} Give a {known} file.") from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
        RuntimeError,
    ) as error:
        raise PhotoError(f"{name} is damaged or cut short: {error}. Fetch or save it again.") from error


def _format(image: Image.Image, name: str) -> str:
    kind = {"mpo": "jpeg"}.get(str(image.format).lower(), str(image.format).lower())
    if kind not in FORMATS:
        known = ", ".join(key.upper() for key in FORMATS)
        raise PhotoError(f"{name} is a {image.format} file, expected {known}. Save it as one of these.")
    return kind


def _check_size(size: tuple[int, int], limits: Limits, name: str) -> None:
    width, height = size
    if width * height > limits.pixels or max(size) > limits.side_px:
        raise PhotoTooLarge(
            f"{name} has {width} x {height} = {width * height / 1e6:.0f} megapixels, the limit is "
            f"{limits.pixels / 1e6:.0f} (and {limits.side_px} px a side). Scale it down first."
        )


def _photo(image: Image.Image, kind: str, notes: list[str]) -> Photo:
    """8-bit samples of whatever mode the file has."""
    icc, exif = image.info.get("icc_profile"), _clean_exif(image)
    image.load()
    image = ImageOps.exif_transpose(image)
    grey = image.mode in ("1", "L", "LA", "La", "I;16", "I", "F")
    alpha = None
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("LA" if grey else "RGBA")
        alpha = np.asarray(image.getchannel("A")).copy()
    if image.mode in ("CMYK", "YCCK", "LAB"):
        image, icc, note = _to_rgb(image, icc)
        notes.append(note)
    elif image.mode == "RGBA":
        image = Image.merge("RGB", image.split()[:3])  # convert() would keep the same samples, but says less
    pixels = np.asarray(image.convert("RGB")).copy()
    return Photo(
        pixels=pixels, format=kind, alpha=alpha, icc=icc, exif=exif, grey=grey, warnings=tuple(notes)
    )  # fmt: skip


def _to_rgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None, str]:
    """A print colour space as sRGB, through its own profile where it has one; the old profile no longer fits."""
    note = f"{image.mode} was converted to RGB"
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted, None, f"{note} through its colour profile"
        except ImageCms.PyCMSError:
            note += "; its colour profile is damaged and was dropped"
    return image.convert("RGB"), None, note


def _clean_exif(image: Image.Image) -> bytes | None:
    """The file's EXIF with the orientation reset (it is applied to the pixels) and without the place."""
    exif = image.getexif()
    if not len(exif):
        return None
    exif.get_ifd(ExifTags.IFD.Exif)  # loads the part that holds exposure and dates, so that it is written back
    exif.pop(ExifTags.Base.Orientation, None)
    exif.pop(ExifTags.IFD.GPSInfo, None)
    exif._ifds.pop(ExifTags.IFD.GPSInfo, None)
    return exif.tobytes() if len(exif) else None


def _sixteen_bit(data: bytes, kind: str, image: Image.Image) -> NDArray[np.uint16] | None:
    """(H, W) or (H, W, C) samples of a 16-bit PNG or TIFF, which Pillow would cut to 8 bits; None for other files."""
    if kind == "png" and data[24:25] == b"\x10":
        import imagecodecs

        return np.asarray(imagecodecs.png_decode(data))
    if kind == "tiff":
        bits = image.tag_v2.get(258, (8,)) if hasattr(image, "tag_v2") else (8,)  # BitsPerSample
        if set(bits if isinstance(bits, tuple) else (bits,)) == {16}:
            import tifffile

            samples = tifffile.imread(io.BytesIO(data), key=0)
            return np.asarray(samples) if samples.dtype == np.uint16 else None
    return None


def _deep_photo(samples: NDArray[np.uint16], image: Image.Image, kind: str, notes: tuple[str, ...]) -> Photo:
    turned = image.getexif().get(ExifTags.Base.Orientation, 1)
    exif, icc = _clean_exif(image), image.info.get("icc_profile")
    samples = np.ascontiguousarray(_turned(samples[..., None] if samples.ndim == 2 else samples, turned))
    channels = samples.shape[2]
    grey = channels <= 2
    colours = np.repeat(samples[..., :1], 3, axis=2) if grey else np.ascontiguousarray(samples[..., :3])
    alpha = samples[..., -1].copy() if channels in (2, 4) else None
    return Photo(pixels=colours, format=kind, alpha=alpha, icc=icc, exif=exif, grey=grey, warnings=notes)


def _turned(samples: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """(H, W, C) as the eight EXIF orientations mean it."""
    if orientation in (5, 6, 7, 8):
        samples = samples.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples
