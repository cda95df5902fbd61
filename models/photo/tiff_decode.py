"""Decodes the pixels of a TIFF page strictly: every strip must be complete.

tifffile decodes what it can, at any depth; Pillow decodes the color spaces that tifffile leaves alone, and reduces 16
bits to 8, so it only gets what has 8.

Shapes:  H W pixels, C samples a pixel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.  uint8 or uint16.
"""

import io
import logging

import numpy as np
from numpy.typing import NDArray

from models.errors import PhotoError, UnsupportedPhoto
from models.photo.jpeg import damage_of
from models.photo.tiff_directories import Directory, Tag
from models.warning_codes import CodedWarning

Samples = NDArray[np.uint8] | NDArray[np.uint16]

MINISWHITE, MINISBLACK, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLORS = {MINISWHITE: 1, MINISBLACK: 1, RGB: 3, PALETTE: 1, CMYK: 4}
JPEG = 7
COMPRESSIONS = frozenset({1, 2, 3, 4, 5, JPEG, 8, 32773, 32946, 34712, 34925, 50000, 50001})
"""None, CCITT, LZW, JPEG, deflate, PackBits, JPEG 2000, LZMA, Zstandard and WebP.

Pillow reads method 6, the JPEG of 1992, but shows a damaged or misread picture without an error.
"""
PREMULTIPLIED, STRAIGHT = 1, 2
"""Codes of extra samples that are alpha (TIFF 6.0, section 18)."""
ADVICE = "Save it as 8- or 16-bit RGB."
SAMPLE_KINDS = {2: "signed integer", 3: "floating-point", 5: "complex", 6: "complex"}


def decode_tiff(data: bytes, page: Directory, name: str) -> tuple[Samples | None, tuple[str, ...]]:
    """Returns (H, W, C) samples of a checked page, and warnings; CMYK has C = 4 inks, then alpha.

    No samples mean: Pillow decodes this page.

    Raises:
        UnsupportedPhoto: the samples are of a kind that is not restored.
        PhotoError: a strip is damaged.
    """
    bits = check_samples(page, name)
    photometric = page.get(Tag.PHOTOMETRIC, -1)
    if page.get(Tag.COMPRESSION) == JPEG:
        _check_jpeg_segments(page, data, name)
    if photometric not in COLORS or (photometric == CMYK and bits <= 8):
        if bits != 8 or photometric not in (CMYK, YCBCR, LAB):
            raise UnsupportedPhoto(f"{name} is a TIFF with {bits}-bit samples in an unusual color space. {ADVICE}")
        if photometric != YCBCR:
            _raw_samples(data)  # it raises for what Pillow forgives
        return None, ()
    samples, color_map = _raw_samples(data)
    colors, extra = COLORS[photometric], page.values.get(Tag.EXTRA_SAMPLES, ())
    if samples.shape[2] < colors:
        raise PhotoError(f"{name} is damaged: got {samples.shape[2]} samples a pixel, expected {colors}.")
    samples, warnings = _with_alpha(samples, colors, extra, name)
    if photometric == PALETTE and color_map is not None:
        alpha = _scaled(samples[..., 1:], bits).astype(np.uint8)
        return np.concatenate([_looked_up(samples[..., 0], color_map), alpha], axis=2), warnings
    samples = _scaled(samples, bits)
    if photometric == MINISWHITE:
        samples[..., :1] = np.iinfo(samples.dtype).max - samples[..., :1]
    if extra[:1] == (PREMULTIPLIED,):
        samples = _straight(samples)
    return samples, warnings


def check_samples(page: Directory, name: str) -> int:
    """Returns the bits a sample.

    Raises:
        UnsupportedPhoto: the samples, inks or compression are of a kind that is not restored.
    """
    if (compression := page.get(Tag.COMPRESSION, 1)) not in COMPRESSIONS:
        raise UnsupportedPhoto(f"{name} is a TIFF with an unusual compression (method {compression}). {ADVICE}")
    bits, kinds = set(page.values.get(Tag.BITS, (1,))), set(page.values.get(Tag.SAMPLE_FORMAT, (1,)))
    if kind := next((SAMPLE_KINDS[code] for code in kinds if code in SAMPLE_KINDS), None):
        raise UnsupportedPhoto(
            f"{name} is a TIFF with {max(bits)}-bit {kind} samples, expected unsigned integers. {ADVICE}"
        )
    if len(bits) > 1 or not 1 <= max(bits) <= 16:
        depths = ", ".join(map(str, sorted(bits)))
        raise UnsupportedPhoto(f"{name} is a TIFF with {depths}-bit samples, expected 1 to 16 bits. {ADVICE}")
    if page.get(Tag.PHOTOMETRIC) == CMYK and page.get(Tag.INK_SET, 1) != 1:
        raise UnsupportedPhoto(f"{name} is a TIFF with other inks than CMYK. {ADVICE}")
    return max(bits)


def _raw_samples(data: bytes) -> tuple[Samples, NDArray[np.uint16] | None]:
    """Returns (H, W, C) samples of the first page as they are stored, and the color map (3, colors)."""
    import tifffile  # takes 0.2 s to import

    logging.getLogger("tifffile").disabled = True  # it logs damaged tags; those that matter here are checked before
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage), "the first page has its own tags"
        samples = np.asarray(page.asarray())
        if samples.dtype == np.bool_:
            samples = samples.astype(np.uint8)
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, 2)
        color_map = page.colormap
    samples = samples[..., None] if samples.ndim == 2 else samples
    if samples.ndim != 3 or samples.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"samples of shape {samples.shape} and type {samples.dtype}")
    return samples, color_map


def _with_alpha(samples: Samples, colors: int, extra: tuple[int, ...], name: str) -> tuple[Samples, tuple[str, ...]]:
    """Returns the colors, and the alpha if the first extra sample is alpha; the other channels are left out."""
    kept = colors + (extra[:1] in ((PREMULTIPLIED,), (STRAIGHT,)))
    lost = samples.shape[2] - kept
    sentence = f"{name}: {lost} channels beside color and alpha are not kept"
    warnings = (CodedWarning(sentence, "further-images"),) if lost > 0 else ()
    chosen: Samples = samples[..., :kept].copy()
    return chosen, warnings


def _scaled(samples: Samples, bits: int) -> Samples:
    """Returns samples of up to 16 bits stretched to 8 bits, or to 16 if they have more than 8."""
    if bits in (8, 16):
        return samples
    kind, largest = (np.uint8, 255) if bits < 8 else (np.uint16, 65535)
    table = np.round(np.arange(2**bits) * (largest / (2**bits - 1))).astype(kind)
    return np.asarray(table[np.minimum(samples, 2**bits - 1)])


def _looked_up(indices: Samples, color_map: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Returns the colors (H, W, 3) of palette indices; some writers store 8 bits in place of 16."""
    shift = 8 if color_map.max() > 255 else 0
    table = (color_map >> shift).astype(np.uint8).T
    return np.asarray(table[np.minimum(indices, len(table) - 1)])


def _straight(samples: Samples) -> Samples:
    """Divide the colors by the last channel, a premultiplied alpha."""
    largest = np.iinfo(samples.dtype).max
    alpha = np.maximum(samples[..., -1:], 1).astype(np.float64)
    colors = np.minimum(np.round(samples[..., :-1] * (largest / alpha)), largest).astype(samples.dtype)
    return np.concatenate([colors, samples[..., -1:]], axis=2)


def _check_jpeg_segments(page: Directory, data: bytes, name: str) -> None:
    """Refuse damaged JPEG strips: the decoders would fill them with gray."""
    tables = bytes(page.values.get(Tag.JPEG_TABLES, ()))
    offsets = page.values.get(Tag.TILE_OFFSETS) or page.values.get(Tag.STRIP_OFFSETS, ())
    counts = page.values.get(Tag.TILE_BYTES) or page.values.get(Tag.STRIP_BYTES, ())
    for offset, count in zip(offsets, counts, strict=False):
        segment = data[offset : offset + count]
        if damage := damage_of(tables[:-2] + segment[2:] if tables else segment):
            raise PhotoError(f"{name} is damaged or truncated ({damage}). Download or save it again.")
