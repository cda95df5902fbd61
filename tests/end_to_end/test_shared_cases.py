"""The cases of ../shared/cases that one command shows: each holds an input that failed once, and the right value."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


class Case:
    """A folder of the case's files, and the command run there."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = folder
        for file in source.iterdir():
            shutil.copyfile(file, folder / file.name)

    def __call__(self, *words: object, **env: str) -> subprocess.CompletedProcess:
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "UNDEGRADE_DEVICE": "cpu", **env}
        command = [sys.executable, "-m", "cli", *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, timeout=120)
        assert b"mistake of undegrade" not in done.stderr and b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    def restore(self, name: str, *words: object, output: str | None = None) -> tuple[int, str, Path]:
        """Restore with strength 0.  Returns the exit code, what was said, and the result's path."""
        done = self("restore", name, "--strength", 0, *(("-o", output) if output else ()), *words)
        results = [path for path in self.folder.glob("*.restored.*")] if output is None else [self.folder / output]
        said = " ".join(done.stderr.decode().split())
        return done.returncode, said, results[0] if results else self.folder / "none"


@pytest.fixture
def case(shared, tmp_path, request) -> Case:
    folder = shared / "cases" / request.param
    if not folder.is_dir():
        pytest.skip(f"../shared/cases/{request.param} does not exist")
    return Case(folder, tmp_path)


def of(name: str, *others: str) -> pytest.MarkDecorator:
    """Use the case of this name."""
    return pytest.mark.parametrize("case", [name, *others], indirect=True)


@of("dpi-lost")
@pytest.mark.parametrize("name", ["in.jpg", "in.png", "in16.png"])
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "avif"])
def test_resolution_is_kept(case, name, ending):
    code, said, path = case.restore(name, output=f"out.{ending}")
    assert code == 0, said
    with Image.open(path) as image:
        dpi = image.info.get("dpi") or (image.getexif().get(282), image.getexif().get(283))
    assert tuple(map(float, dpi)) == pytest.approx((300, 300), abs=0.1)


@of("adobergb-dcf-lost")
def test_adobe_rgb_of_a_camera_is_kept(case):
    code, said, path = case.restore("in.jpg")
    assert code == 0, said
    with Image.open(path) as image:
        interop = image.getexif().get_ifd(0xA005).get(1)
        assert interop == "R03" or "icc_profile" in image.info


@of("credit-lost")
@pytest.mark.parametrize("name", ["in.jpg", "in.png", "com.jpg"])
def test_credits_are_kept_and_locations_go(case, name):
    code, said, path = case.restore(name)
    data = path.read_bytes()
    assert code == 0, said
    assert b"(c) Jane Doe" in data or "dropped" in said or "comment" in said.lower()
    assert b"GPSLatitude" not in data and b"Paris" not in data


@of("gainmap-lost")
def test_a_gain_map_is_named(case):
    _, said, _ = case.restore("in.jpg")
    assert "HDR" in said or "gain map" in said


@of("hdr-cicp-lost")
@pytest.mark.parametrize("name", ["in.png", "in.avif"])
def test_hdr_is_kept_or_named(case, name):
    code, said, _ = case.restore(name)
    assert code == 1 or "HDR" in said


@of("png-gamma-lost")
@pytest.mark.parametrize("name", ["in.png", "chrm.png"])
def test_gamma_and_primaries_are_kept_or_converted(case, name):
    code, said, path = case.restore(name)
    data, old = path.read_bytes(), (case.folder / name).read_bytes()
    assert code == 0, said
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    kept = all((chunk in data) == (chunk in old) for chunk in (b"gAMA", b"cHRM"))
    with Image.open(io.BytesIO(old)) as image:
        converted = not np.array_equal(pixels, np.asarray(image.convert("RGB")))
    assert kept or b"iCCP" in data or converted


@of("makernote-broken")
def test_a_maker_note_is_whole_or_gone(case):
    code, said, path = case.restore("in.jpg")
    assert code == 0, said
    with Image.open(path) as image:
        assert 0x927C not in image.getexif().get_ifd(0x8769)


@of("tiff-cmyk16-depth")
def test_the_depth_of_cmyk_is_kept_or_named(case):
    import tifffile

    code, said, path = case.restore("in.tif")
    assert code == 0, said
    assert tifffile.imread(path).dtype == np.uint16 or "8 bits" in said


@of("jpeg-cut")
def test_a_cut_jpeg_is_read_as_far_as_it_goes(case):
    assert case.restore("in.jpg", output="whole.png")[0] == 0
    for name in ("cut.jpg", "zero.jpg"):
        code, said, _ = case.restore(name, output=f"{name}.png")
        assert code == 0 and "warning" in said.lower(), said


@of("jpeg-12bit-words")
@pytest.mark.parametrize(("name", "words"), [("in.jpg", ("12-bit", "12 bit")), ("lossless.jpg", ("ossless", "16"))])
def test_unusual_jpegs_are_named(case, name, words):
    code, said, _ = case.restore(name)
    assert code == 1 and any(word in said for word in words), said


@of("tiff-odd-words")
@pytest.mark.parametrize("name", ["la.tif", "grey12.tif", "float.tif", "int16.tif"])
def test_unusual_tiffs_are_read_or_named(case, name):
    code, said, _ = case.restore(name)
    assert "damaged" not in said and "I;16" not in said, said
    assert code == 0 or name in ("float.tif", "int16.tif"), said


@of("raw-thumbnail")
def test_a_raw_file_is_refused(case):
    code, said, path = case.restore("in.dng")
    assert code == 1 and "raw" in said and not path.exists()


@of("tiff-pages-lost")
def test_pages_are_never_lost(case):
    before = (case.folder / "in.tif").read_bytes()
    code, said, _ = case.restore("in.tif", "--exists", "replace", output="in.tif")
    with Image.open(case.folder / "in.tif") as image:
        assert getattr(image, "n_frames", 1) == 3
    assert code == 0 or (case.folder / "in.tif").read_bytes() == before, said


@of("ending-lies")
def test_the_ending_is_that_of_the_format(case):
    code, said, path = case.restore("in.heic")
    assert code == 0 and path.suffix in (".jpg", ".jpeg"), said


@of("long-name")
def test_a_long_name_is_written(case):
    name = "n" * 245 + ".png"
    (case.folder / "in.png").rename(case.folder / name)
    done = case("restore", name, "-o", "out/", "--strength", 0)
    assert done.returncode == 0 and [path.name for path in (case.folder / "out").iterdir()] == [name]


@of("modes-and-links")
def test_modes_and_links_stay(case):
    case.folder.joinpath("in.png").chmod(0o600)
    (case.folder / "link.png").symlink_to("in.png")
    _, said, path = case.restore("in.png")
    assert path.stat().st_mode & 0o777 == 0o600, said
    before = (case.folder / "in.png").stat().st_mtime_ns
    assert case.restore("link.png", "--exists", "replace", output="link.png")[0] == 0
    assert (case.folder / "link.png").is_symlink()
    assert (case.folder / "in.png").stat().st_mtime_ns != before


@of("escape-in-name")
def test_escape_sequences_never_reach_the_terminal(case):
    name = "esc\x1b[31mred.png"
    (case.folder / "in.png").rename(case.folder / name)
    done = case("restore", name, "--strength", 0)
    assert done.returncode == 0 and b"\x1b" not in done.stderr + done.stdout


@of("same-stem-stops-batch")
def test_two_names_that_collide_stop_nothing_else(case):
    done = case("restore", ".", "-o", "out/", "--format", "png", "--strength", 0)
    written = sorted(path.name for path in (case.folder / "out").iterdir())
    assert done.returncode in (0, 1) and {"a.png", "c.png"} <= set(written), done.stderr
    assert len(written) == 3 or done.returncode == 1


@of("redis-url-words")
@pytest.mark.parametrize("url", ["redis+sentinel://h:26379/mymaster/0", "localhost:6379", "redis://127.0.0.1/0?foo=b"])
def test_odd_redis_urls_are_usage_errors(case, url):
    done = case("keys", "list", "--redis-url", url)
    assert done.returncode == 2 and b"redis://" in done.stderr, done.stderr


@of("service")
def test_a_flipped_bit_is_refused(case):
    code, said, path = case.restore("crc_bad.png")
    assert code == 1 and "damaged" in said and not path.exists()


@of("service")
def test_a_location_in_a_maker_note_goes(case):
    code, said, path = case.restore("makernote_location.jpg")
    assert code == 0 and b"LANDMARK" not in path.read_bytes(), said


@of("service")
def test_many_scans_are_refused(case):
    name = "progressive_1500_scans.jpg"
    if not (case.folder / name).exists():
        pytest.skip(f"{name} is not among the cases: tests/models/photo makes such a file")
    code, said, _ = case.restore(name)
    assert code == 1 and "scans" in said.replace(name, ""), said


@of("service")
def test_one_pixel_has_colors_to_fix(case):
    done = case("restore", "colourfix_1x1.png", "--color-fix", "--json")
    assert done.returncode == 0, done.stderr
    assert np.isfinite(list(json.loads(done.stdout.splitlines()[0])["degradations"].values())).all()
