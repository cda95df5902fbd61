"""Damaged files and files that are not photos are refused with one sentence."""

import numpy as np
import pytest
from photo_samples import encoded
from PIL import Image

from models.errors import PhotoError
from models.photo.read import FORMATS, Photo, read_photo
from models.photo.write import encode_photo

LARGE = np.random.default_rng(5).integers(0, 256, (120, 160, 3), dtype=np.uint8)


SAMPLES = {kind: encoded(Image.fromarray(LARGE), kind) for kind in FORMATS}


SAMPLES["png16"] = encode_photo(Photo(pixels=LARGE.astype(np.uint16) * 257, format="png"))


SAMPLES["tiff16"] = encode_photo(Photo(pixels=LARGE.astype(np.uint16) * 257, format="tiff"))


@pytest.mark.parametrize("kind", sorted(set(SAMPLES) - {"jpeg"}))
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_truncated_file_is_refused(kind, share):
    with pytest.raises(PhotoError):
        read_photo(SAMPLES[kind][: int(len(SAMPLES[kind]) * share)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not an image"),
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"GIF89a" + b"\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x02\0\x02\0\0\x02\x02\x84Q\0;", "GIF"),
    ],
)
def test_a_file_that_is_not_a_photo_is_refused_with_its_likely_kind(tmp_path, data, message):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=message) as raised:
        read_photo(path)
    assert str(path) in str(raised.value)
