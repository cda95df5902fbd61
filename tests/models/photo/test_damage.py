"""A damaged file is refused, or read as a second decoder reads it; of a JPEG, the rest is read with a warning."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from photo_mutations import ALLOWED, mutated, outcome, samples
from photo_samples import encoded
from PIL import Image

from models.errors import PhotoError
from models.photo.read import read_photo

SAMPLES = samples()
SMOOTH = Image.fromarray(np.add.outer(np.arange(160), np.arange(120)).astype(np.uint8)).convert("RGB")
BUSY = Image.fromarray(np.random.default_rng(5).integers(60, 256, (160, 120, 3), dtype=np.uint8))


@pytest.mark.filterwarnings("ignore")  # of the second decoders
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(sorted(SAMPLES)), seed=st.integers(0, 10**6))
def test_a_mutated_file_is_refused_or_read_as_by_a_second_decoder(kind, seed):
    assert outcome(kind, mutated(SAMPLES[kind], np.random.default_rng(seed))) in ALLOWED


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_a_thousand_mutated_files_of_each_kind_are_refused_or_read_as_by_a_second_decoder(kind):
    for seed in range(1000):
        assert outcome(kind, mutated(SAMPLES[kind], np.random.default_rng(seed))) in ALLOWED, seed


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_a_whole_file_is_read_as_by_a_second_decoder(kind):
    if kind != "tiff-pillow-lab":  # no other decoder converts it
        assert outcome(kind, SAMPLES[kind]) == "equal"
    assert read_photo(SAMPLES[kind]).losses == ()


@pytest.mark.parametrize("kind", [kind for kind in sorted(SAMPLES) if not kind.startswith("jpeg")])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_truncated_file_is_refused(kind, share):
    with pytest.raises(PhotoError):
        read_photo(SAMPLES[kind][: int(len(SAMPLES[kind]) * share)])


@pytest.mark.parametrize("kind", [kind for kind in sorted(SAMPLES) if kind.startswith("jpeg")])
def test_a_jpeg_without_its_last_bytes_is_read_whole(kind):
    photo, whole = read_photo(SAMPLES[kind][:-2]), read_photo(SAMPLES[kind])
    np.testing.assert_array_equal(photo.pixels, whole.pixels)
    assert (photo.warnings, photo.losses) == (whole.warnings, ())


@pytest.mark.parametrize("options", [{}, {"subsampling": 2}, {"restart_marker_rows": 1}, {"optimize": True}])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("filling", [0, 700], ids=["cut", "zeros"])
def test_a_cut_jpeg_is_read_with_a_warning_that_says_how_much_is_missing(options, share, filling):
    whole = encoded(BUSY, "jpeg", quality=90, **options)
    start = whole.index(b"\xff\xda")
    photo = read_photo(whole[: start + int((len(whole) - start) * share)] + bytes(filling))
    assert photo.losses == ("its damaged part",)
    lost = int(photo.warnings[0].split(" % of its rows")[0].split()[-1])
    assert abs(lost - 100 * (1 - share)) <= 12  # rows of blocks have 5 or 10 % each
    right = int(160 * (1 - lost / 100)) - 20  # the percentage is rounded, and the last block can be half a block
    np.testing.assert_array_equal(photo.pixels[:right], read_photo(whole).pixels[:right])


def test_a_hole_of_zeros_in_a_jpeg_brings_a_warning():
    whole = encoded(BUSY, "jpeg", quality=90)
    photo = read_photo(whole[:6000] + bytes(2000) + whole[8000:])
    assert "damaged" in photo.warnings[0]


def test_a_flat_jpeg_that_really_contains_zeros_is_read_without_a_warning():
    flat = encoded(Image.new("L", (2000, 2000), 90), "jpeg", optimize=True)
    assert bytes(64) in flat
    assert read_photo(flat).warnings == ()
    assert read_photo(flat[:-2]).warnings == ()


def test_a_progressive_jpeg_that_lacks_its_last_scans_says_so():
    whole = encoded(SMOOTH, "jpeg", progressive=True)
    scans = [place for place in range(len(whole)) if whole[place : place + 2] == b"\xff\xda"]
    photo = read_photo(whole[: scans[-1]])
    assert "100 % of its rows were read, but some without their fine detail" in photo.warnings[0]
    assert read_photo(whole).warnings == ()


def test_a_jpeg_without_any_complete_row_is_refused():
    whole = encoded(BUSY, "jpeg", quality=95)
    with pytest.raises(PhotoError, match="damaged or truncated"):
        read_photo(whole[: whole.index(b"\xff\xda") + 40])


def test_a_swapped_restart_marker_brings_a_warning():
    data = encoded(BUSY, "jpeg", restart_marker_rows=1)
    assert "marker" in read_photo(data.replace(b"\xff\xd3", b"\xff\xd6", 1)).warnings[0]


def test_odd_parameters_of_a_jpeg_do_not_hide_its_damage():
    whole = encoded(BUSY, "jpeg")
    start = whole.index(b"\xff\xda")
    odd = whole.replace(b"JFIF\0\1", b"JFIF\0\7")
    odd = odd[: start + 11] + bytes(3) + odd[start + 14 :]  # some cameras write zeros for the coefficients of the scan
    np.testing.assert_array_equal(read_photo(odd).pixels, read_photo(whole).pixels)
    assert read_photo(odd).warnings == ()
    assert "%" in read_photo(odd[: len(odd) // 2]).warnings[0]
    assert "damaged" in read_photo(odd[:3000] + bytes(900) + odd[3900:]).warnings[0]
