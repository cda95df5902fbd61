"""What is not a single photo is refused with a sentence that names it; traps are refused before they are decoded."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from photo_samples import RGB, RGB16, encoded
from PIL import Image

from models.errors import PhotoError, UnsupportedPhoto
from models.photo.read import read_photo


def tiff(samples=RGB, **options) -> bytes:
    target = io.BytesIO()
    options = {"photometric": "rgb" if samples.ndim == 3 else "minisblack", "metadata": None} | options
    tifffile.imwrite(target, samples, **options)
    return target.getvalue()


def tiff_of_two(second, **options) -> bytes:
    target = io.BytesIO()
    with tifffile.TiffWriter(target) as writer:
        writer.write(RGB, photometric="rgb", metadata=None)
        writer.write(second, **{"photometric": "rgb" if second.ndim == 3 else "minisblack", "metadata": None} | options)
    return target.getvalue()


def raw_with_preview(photometric, extratags=(), subfiletype=1) -> bytes:
    """A TIFF as cameras write it: a small preview, and the photo in a SubIFD."""
    target = io.BytesIO()
    with tifffile.TiffWriter(target) as writer:
        make = [(271, "s", 0, "Maker", True), *extratags]
        writer.write(RGB, photometric="rgb", subfiletype=subfiletype, subifds=1, metadata=None, extratags=make)
        shape = (40, 60, 3) if photometric == 34892 else (40, 60)
        writer.write(np.ones(shape, np.uint16), photometric=photometric, metadata=None)
    return target.getvalue()


DNG_VERSION = (50706, "B", 4, (1, 4, 0, 0), True)
RAWS = {
    "dng": raw_with_preview("minisblack", [DNG_VERSION], subfiletype=0),
    "cfa": raw_with_preview(32803, subfiletype=0),
    "linear": raw_with_preview(34892),
    "preview of anything": raw_with_preview("minisblack"),
    "cr2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(90),
    "cr3": b"\0\0\0\x18ftypcrx " + bytes(90),
    "orf": b"IIRO\x08\0\0\0" + bytes(90),
    "rw2": b"IIU\0\x18\0\0\0" + bytes(90),
    "raf": b"FUJIFILMCCD-RAW 0201" + bytes(90),
    "x3f": b"FOVb" + bytes(90),
    "mrw": b"\0MRM" + bytes(90),
    "crw": b"II\x1a\0\0\0HEAPCCDR" + bytes(90),
}


@pytest.mark.parametrize("kind", RAWS)
def test_a_camera_raw_is_refused_whatever_its_name(tmp_path, kind):
    path = tmp_path / "photo.tif"
    path.write_bytes(RAWS[kind])
    with pytest.raises(UnsupportedPhoto, match=r"raw file: .*Develop it in a raw converter"):
        read_photo(path)


def test_a_tiff_with_a_thumbnail_or_a_mask_is_one_photo():
    for second, options in (
        (RGB[::2, ::2], {"subfiletype": 1}),
        (RGB[..., 0] > 9, {"subfiletype": 4, "photometric": 4}),
    ):
        np.testing.assert_array_equal(read_photo(tiff_of_two(second, **options)).pixels, RGB)


def test_a_tiff_with_a_second_page_of_any_kind_is_refused():
    for second in (RGB, RGB[..., 0], RGB16):
        with pytest.raises(UnsupportedPhoto, match="2 pages"):
            read_photo(tiff_of_two(second))


def test_a_tiff_whose_directories_form_a_loop_is_refused():
    data = bytearray(tiff())
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * count, directory)
    with pytest.raises(PhotoError, match="loop"):
        read_photo(bytes(data))


def test_a_tiff_that_claims_millions_of_strips_is_refused():
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 4)
    for tag, value in ((256, 1), (257, 60_000), (277, 60_000), (284, 2)):
        data += struct.pack("<HHII", tag, 4, 1, value)
    for data_with_strips in (data + bytes(4), data + bytes(3)):
        with pytest.raises(PhotoError):
            read_photo(data_with_strips)


def test_the_layers_of_a_tiff_are_named_as_lost():
    photo = read_photo(tiff(extratags=[(37724, "B", 8, b"Adobe Ph", True)]))
    assert photo.losses == ("its Photoshop layers",)
    assert "layers are not kept" in photo.warnings[0]


@pytest.mark.parametrize("frame", [0xC3, 0xC5])
def test_unusual_jpegs_are_named(frame):
    data = encoded(Image.fromarray(RGB), "jpeg").replace(b"\xff\xc0", bytes((0xFF, frame)))
    with pytest.raises(UnsupportedPhoto, match="lossless JPEG" if frame == 0xC3 else "hierarchical JPEG"):
        read_photo(data)


def test_a_twelve_bit_jpeg_is_named():
    data = encoded(Image.fromarray(RGB), "jpeg").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")
    with pytest.raises(UnsupportedPhoto, match="12-bit JPEG"):
        read_photo(data)


def with_scans(size, count) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encoded(Image.new("L", size, 128), "jpeg", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * count + data[-2:]


@pytest.mark.parametrize(("size", "count"), [((8, 8), 100), ((7000, 7000), 40)])
def test_a_jpeg_with_too_many_scans_is_refused_before_it_is_decoded(size, count):
    with pytest.raises(UnsupportedPhoto, match="scans"):
        read_photo(with_scans(size, count))


def test_usual_numbers_of_scans_pass():
    assert read_photo(with_scans((64, 64), 15)).pixels.shape == (64, 64, 3)
    image = Image.new("RGB", (64, 64), "teal")
    assert read_photo(encoded(image, "jpeg", progressive=True)).warnings == ()


def test_a_jpeg_of_very_many_segments_is_refused():
    data = encoded(Image.fromarray(RGB), "jpeg")
    with pytest.raises(UnsupportedPhoto, match="segments"):
        read_photo(data[:2] + b"\xff\xfe\0\2" * 20_000 + data[2:])


def chunk(kind, body, checksum=None) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum or zlib.crc32(kind + body))


def png_with(inserted: bytes) -> bytes:
    """A PNG with chunks before its pixels."""
    data = encoded(Image.fromarray(RGB), "png")
    return data[:33] + inserted + data[33:]


@pytest.mark.parametrize(
    "inserted",
    [
        chunk(b"tEXt", b"Comment\0words", checksum=7),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**22))),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2**22))),
        chunk(b"iCCP", b"profile\0\0no zlib stream"),
    ],
    ids=["checksum", "large", "large international", "broken profile"],
)
def test_unreadable_metadata_of_a_png_are_left_out_with_a_warning(inserted):
    photo = read_photo(png_with(inserted))
    np.testing.assert_array_equal(photo.pixels, RGB)
    assert inserted[4:8].decode() in photo.warnings[0]


@pytest.mark.parametrize("kind", [b"tRNS", b"PLTE", b"abCd"])
def test_a_damaged_chunk_that_pixels_may_need_is_refused(kind):
    with pytest.raises(PhotoError, match=f"checksum of its {kind.decode()}"):
        read_photo(png_with(chunk(kind, b"123456", checksum=7)))


def test_every_flipped_bit_of_a_png_s_pixels_is_refused():
    data = encoded(Image.fromarray(RGB), "png")
    for place in range(data.index(b"IDAT") - 4, len(data) - 12):
        for bit in (1, 32, 128):
            flipped = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            with pytest.raises(PhotoError):
                read_photo(flipped)


def test_a_png_whose_pixels_end_too_early_is_refused():
    data = encoded(Image.fromarray(RGB), "png")
    row = bytes(3 * RGB.shape[1] + 1)
    for rows in (0, 1, len(RGB) - 1):
        for short in (zlib.compress(row * rows), zlib.compress(row * rows)[:-4], zlib.compress(row * rows + row[1:])):
            with pytest.raises(PhotoError):
                read_photo(data[:33] + chunk(b"IDAT", short) + chunk(b"IEND", b""))
    assert read_photo(data[:33] + chunk(b"IDAT", zlib.compress(row * len(RGB)))).pixels.max() == 0  # without an end


def test_a_png_of_very_many_chunks_is_refused():
    with pytest.raises(PhotoError, match="too long"):
        read_photo(png_with(chunk(b"tEXt", b"") * 200_001))


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_an_avif_keeps_its_depth(bits):
    samples = (RGB.astype(np.uint16) << (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16)
    photo = read_photo(bytes(imagecodecs.avif_encode(samples, bitspersample=bits)))
    assert photo.sixteen_bit == (bits > 8) and photo.warnings == ()
