"""Photo files of many kinds, cut and flipped, and what a second decoder says of them.

Run as a program, it mutates every kind and prints the outcomes:

    PYTHONPATH=. python tests/support/photo_mutations.py --count 1000 [--kind tiff-lzw]
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from PIL import Image, ImageOps, PngImagePlugin

from models.errors import PhotoError
from models.photo.read import Limits, Photo, read_photo

LIMITS = Limits(pixels=4_000_000)
WIDTH, HEIGHT = 96, 72
END = b"\xff\xd9"
ALLOWED = ("refused", "equal", "warned")
"""What may happen to a damaged file.  "warned" is a JPEG that is read as a second decoder reads it, with a warning."""


def picture() -> np.ndarray:
    """A smooth picture with some noise: (H, W, 3) uint8."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([128 + 100 * np.sin(x / 9 + y / 15), 128 + 100 * np.cos(y / 7), (x + y) % 256], axis=2)
    return np.clip(waves + np.random.default_rng(6).normal(0, 6, waves.shape), 0, 255).astype(np.uint8)


def saved(image: Image.Image, format: str, **options) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


def tiff(samples: np.ndarray, **options) -> bytes:
    target = io.BytesIO()
    tifffile.imwrite(target, samples, metadata=None, **options)
    return target.getvalue()


def samples() -> dict[str, bytes]:
    """Returns a whole file of each kind."""
    rgb8 = picture()
    image, rgb16 = Image.fromarray(rgb8), rgb8.astype(np.uint16) * 257 + 3
    gray, alpha = image.convert("L"), Image.fromarray(np.dstack([rgb8, rgb8[..., :1]]), "RGBA")
    files = {
        "jpeg": saved(image, "jpeg", quality=90),
        "jpeg-420-restarts": saved(image, "jpeg", subsampling=2, restart_marker_rows=1),
        "jpeg-progressive": saved(image, "jpeg", progressive=True, quality=90),
        "jpeg-gray": saved(gray, "jpeg"),
        "jpeg-cmyk": saved(image.convert("CMYK"), "jpeg", quality=95),
        "png": saved(image, "png"),
        "png-text": saved(image, "png", pnginfo=_texts()),
        "png-palette": saved(image.quantize(32), "png"),
        "png-alpha": saved(alpha, "png"),
        "png-1": saved(gray.convert("1"), "png"),
        "png-16": bytes(imagecodecs.png_encode(rgb16)),
        "webp": saved(image, "webp"),
        "webp-lossless": saved(image, "webp", lossless=True),
        "webp-alpha": saved(alpha, "webp"),
        "avif": saved(image, "avif"),
        "avif-10": bytes(imagecodecs.avif_encode(rgb16 >> 6, bitspersample=10)),
        "tiff-pillow-cmyk": saved(image.convert("CMYK"), "tiff", compression="tiff_lzw"),
        "tiff-pillow-lab": saved(image.convert("LAB"), "tiff", compression="tiff_adobe_deflate"),
        "tiff-fax4": saved(gray.convert("1"), "tiff", compression="group4"),
        "tiff-fax3": saved(gray.convert("1"), "tiff", compression="group3"),
        "tiff-jpeg-ycbcr": saved(image, "tiff", compression="jpeg"),
        "tiff-big": tiff(rgb8, photometric="rgb", bigtiff=True, rowsperstrip=16),
        "tiff-palette": saved(image.quantize(32), "tiff", compression="packbits"),
        "tiff-tiles-16": tiff(rgb16, photometric="rgb", tile=(32, 32), compression="lzw", predictor=True),
        "tiff-planar": tiff(np.moveaxis(rgb8, 2, 0), photometric="rgb", planarconfig="separate", compression="deflate"),
        "tiff-12": tiff(np.asarray(gray).astype(np.uint16) << 4, bitspersample=12),
    }
    for compression in (None, "lzw", "deflate", "packbits", "zstd", "lzma"):
        files[f"tiff-{compression}"] = tiff(rgb8, photometric="rgb", compression=compression, rowsperstrip=16)
        if compression != "packbits":
            files[f"tiff-16-{compression}"] = tiff(rgb16, photometric="rgb", compression=compression, byteorder=">")
    return files | interlaced(rgb8)


def _texts() -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    for index in range(20):
        texts.add_text(f"Comment {index}", "words " * 200, zip=bool(index % 2))
    return texts


def interlaced(rgb8: np.ndarray) -> dict[str, bytes]:
    """Returns an interlaced PNG, which Pillow cannot write: the passes of Adam7 by hand."""
    import struct
    import zlib

    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(
        b"\0" + row.tobytes() for x, y, step_x, step_y in starts for row in rgb8[y::step_y, x::step_x] if row.size
    )
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", rgb8.shape[1], rgb8.shape[0], 8, 2, 0, 0, 1)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return {"png-interlaced": data}


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """Returns the file cut, with changed bytes, with a hole of zeros, or with a part missing."""
    place, kind = int(generator.integers(0, len(data))), int(generator.integers(0, 6))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes(len(data) - place)
    if kind == 2:
        length = int(generator.integers(1, 200))
        return data[:place] + bytes(length) + data[place + length :]
    if kind == 3:
        return data[:place] + data[place + int(generator.integers(1, 50)) :]
    changed = bytearray(data)
    for _ in range(int(generator.integers(1, 4)) if kind == 4 else 1):
        place = int(generator.integers(0, len(data)))
        changed[place] ^= 1 << int(generator.integers(0, 8)) if kind == 5 else int(generator.integers(1, 256))
    return bytes(changed)


def outcome(kind: str, data: bytes) -> str:
    """Returns one of ALLOWED, or what went wrong."""
    try:
        photo = read_photo(data, LIMITS)
    except PhotoError:
        return "refused"
    if kind.startswith("jpeg"):
        return _jpeg_outcome(photo, data)
    seconds = list(_second_opinions(kind, data))
    if not seconds:
        return "read, but no other decoder reads it"
    distance = min(_distance(photo, second) for second in seconds)
    return "equal" if distance <= 2 else f"differs from the second decoder by {distance}"


def _jpeg_outcome(photo: Photo, data: bytes) -> str:
    strict = any(_reads_strictly(whole) for whole in (data, data + END, data.rstrip(b"\0") + END))
    if not strict and not any("%" in warning for warning in photo.warnings):
        return "damaged, but without a warning"
    if any("%" in warning for warning in photo.warnings):
        return "warned"
    second = Image.open(io.BytesIO(data if data.rstrip(b"\0").endswith(b"\xff\xd9") else data + b"\xff\xd9"))
    distance = _distance(photo, np.asarray(ImageOps.exif_transpose(second).convert("RGB")))
    return "equal" if distance <= 2 else f"differs from the second decoder by {distance}"


def _colorspace(data: bytes) -> str:
    return "CMYK" if simplejpeg.decode_jpeg_header(data)[2] in ("CMYK", "YCCK") else "RGB"


def _reads_strictly(data: bytes) -> bool:
    try:
        return bool(simplejpeg.decode_jpeg(data, _colorspace(data), strict=True).size)
    except ValueError as error:  # the decoder ignores these parameters
        return str(error) == "Invalid SOS parameters for sequential JPEG" or "JFIF revision" in str(error)


def _second_opinions(kind: str, data: bytes):
    """Yields the pixels (H, W, 3 or 1) of other decoders than the one that `read_photo` uses."""
    decoders = {
        "png": (imagecodecs.png_decode, _opencv), "webp": (imagecodecs.webp_decode,),
        "avif": (imagecodecs.avif_decode,), "avif-10": (_pillow,), "tiff": (_pillow, _opencv, imagecodecs.tiff_decode),
        "tiff-pillow-cmyk": (_tifffile_inks,), "tiff-jpeg-ycbcr": (_tifffile,),
    }  # fmt: skip
    for decode in decoders.get(kind, decoders.get(kind.split("-")[0], ())):
        try:
            yield np.asarray(decode(data))
        except Exception:  # this decoder does not read it
            continue


def _opencv(data: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return decoded if decoded.ndim == 2 else decoded[..., [2, 1, 0]]


def _pillow(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.load()
    if image.mode == "LAB":
        return read_photo(saved(image, "tiff")).pixels
    return np.asarray(image if image.mode.startswith("I") else image.convert("RGB"))


def _tifffile(data: bytes) -> np.ndarray:
    return tifffile.imread(io.BytesIO(data))


def _tifffile_inks(data: bytes) -> np.ndarray:
    return np.asarray(Image.fromarray(_tifffile(data), "CMYK").convert("RGB"))


def _distance(photo: Photo, second: np.ndarray) -> int:
    """The largest difference, in levels of 8 bits; 255 for another size."""
    first = photo.pixels.astype(np.float64) / (257 if photo.sixteen_bit else 1)
    deep = photo.sixteen_bit and second.dtype != np.uint8
    second = second.astype(np.float64)
    second = second[..., None] if second.ndim == 2 else second[..., : 3 if second.shape[2] >= 3 else 1]
    if first.shape[:2] != second.shape[:2]:
        return 255
    largest = 65535 if deep and second.max() > 4095 else 4095 if deep else 255
    if not photo.sixteen_bit and second.max() > 255:
        largest = 1023 if second.max() < 1024 else 65535
    if second.max() == 1 and first.max() == 255:
        largest = 1
    return int(np.ceil(np.abs(first - second * (255 / largest)).max() - 0.6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="folder for files that fail")
    options = parser.parse_args()
    for kind in options.kind or sorted(samples()):
        code = f"import photo_mutations; photo_mutations.run({kind!r}, {options.count}, {str(options.keep)!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)
        if done.returncode:  # a crash of a decoder
            sys.stdout.write(f"{kind:20} the process ended with {done.returncode}\n")


def run(kind: str, count: int, keep: str) -> None:
    """Mutate one kind, and print a line with its outcomes."""
    warnings.simplefilter("ignore")
    whole, found = samples()[kind], Counter()
    assert outcome(kind, whole) == "equal", (kind, outcome(kind, whole))
    for seed in range(count):
        data = mutated(whole, np.random.default_rng(seed))
        result = outcome(kind, data)
        if result not in ALLOWED and found[result] < 3:
            Path(keep, f"{kind}-{seed}").write_bytes(data)
        found[result] += 1
    sys.stdout.write(f"{kind:20} {json.dumps(found)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
