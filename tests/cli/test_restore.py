"""`undegrade restore` on good and bad files, with untrained networks."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from models.bundle import read_manifest, write_manifest

PASS = ("--prompt", "get rid of the grain")
"""Exactly one pass, whatever the random assessor answers."""


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_result_is_written_beside_its_photo(with_bundle, photo):
    result = with_bundle("restore", photo("a.png"), *PASS)
    assert result.code == 0
    assert result.out == b""
    assert pixels("a.restored.png").shape == pixels("a.png").shape
    assert (pixels("a.restored.png") != pixels("a.png")).any()
    assert sorted(os.listdir()) == ["a.png", "a.restored.png"]
    line = next(
        line for line in result.err.splitlines() if line.startswith("a.png -> a.restored.png: ") and "found " in line
    )
    assert "%" in line
    assert "prompt applied" in line
    assert "autodir-small on cpu" in result.err


def test_strength_zero_returns_the_input_pixel_for_pixel(with_bundle, photo):
    assert with_bundle("restore", photo("a.png"), "--strength", 0).code == 0
    np.testing.assert_array_equal(pixels("a.restored.png"), pixels("a.png"))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(with_bundle, photo):
    path = photo("a.png")
    for seed, out in ((7, "x.png"), (7, "y.png"), (8, "z.png")):
        assert with_bundle("restore", path, "-o", out, "--seed", seed, *PASS).code == 0
    x, y, z = (Path(f"{name}.png").read_bytes() for name in "xyz")
    assert x == y != z


def test_existing_results_are_skipped_replaced_or_renamed(with_bundle, photo):
    folder = photo("in/a.png").parent
    photo("in/b.png")
    assert with_bundle("restore", folder, "-o", "out/", "--strength", 0).code == 0
    Path("out/a.png").write_bytes(b"mine")
    again = with_bundle("restore", folder, "-o", "out/", "--strength", 0)
    assert (again.code, Path("out/a.png").read_bytes()) == (0, b"mine")
    assert "out/a.png already exists, skipped" in again.err
    assert with_bundle("restore", folder, "-o", "out/", "--strength", 0, "--exists", "rename").code == 0
    assert sorted(os.listdir("out")) == ["a-2.png", "a.png", "b-2.png", "b.png"]
    assert Path("out/a.png").read_bytes() == b"mine"
    assert with_bundle("restore", folder, "-o", "out/", "--strength", 0, "--exists", "replace").code == 0
    np.testing.assert_array_equal(pixels("out/a.png"), pixels("in/a.png"))


def test_before_and_after_are_written_side_by_side(with_bundle, photo):
    assert with_bundle("restore", photo("a.png"), "--compare", "side", *PASS).code == 0
    side = pixels("a.restored.compare.png")
    np.testing.assert_array_equal(side[:, :32], pixels("a.png"))
    np.testing.assert_array_equal(side[:, -32:], pixels("a.restored.png"))


def test_metadata_survives_without_the_gps_position(with_bundle, photo):
    notes = Image.Exif()
    notes[ExifTags.Base.Make] = "Maker"
    notes[ExifTags.Base.Orientation] = 6
    notes.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert with_bundle("restore", photo("a.jpg", exif=notes, icc_profile=icc), "--strength", 0).code == 0
    with Image.open("a.restored.jpg") as image:
        assert image.size == (24, 32)
        assert image.info["icc_profile"] == icc
        assert image.getexif()[ExifTags.Base.Make] == "Maker"
        assert ExifTags.Base.Orientation not in image.getexif()
        assert ExifTags.IFD.GPSInfo not in image.getexif()


def test_sixteen_bits_alpha_and_gray_survive_a_pass(with_bundle, workplace):
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (20, 24, 4), dtype=np.uint16)
    Path("deep.png").write_bytes(imagecodecs.png_encode(deep))
    Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save("gray.png")
    assert with_bundle("restore", "deep.png", "gray.png", *PASS).code == 0
    after = imagecodecs.png_decode(Path("deep.restored.png").read_bytes())
    assert after.dtype == np.uint16
    assert len(np.unique(after[..., :3])) > 256
    np.testing.assert_array_equal(after[..., 3], deep[..., 3])
    assert pixels("gray.restored.png").ndim == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3000, 2), (600, 40)])
def test_any_image_size_is_restored(with_bundle, photo, size):
    width, height = size
    assert with_bundle("restore", photo("a.png", height=height, width=width), *PASS).code == 0
    assert pixels("a.restored.png").shape == (height, width, 3)


def test_each_bad_file_is_reported_and_the_others_are_restored(with_bundle, photo):
    good = photo("in/good.jpg")
    Path("in/cut.jpg").write_bytes(good.read_bytes()[:400])
    Path("in/empty.jpg").write_bytes(b"")
    Path("in/page.jpg").write_bytes(b"<!doctype html><title>404</title>")
    result = with_bundle("restore", "in", "gone.png", "-o", "out/", "--strength", 0, "--json")
    assert result.code == 1
    assert os.listdir("out") == ["good.jpg"]
    for sentence in (
        "cut.jpg is damaged",
        "empty.jpg is empty",
        "web page",
        "gone.png does not exist",
        "4 of 5 photos",
    ):
        assert sentence in result.err
    assert "Traceback" not in result.err
    rows = {row["input"]: row for row in map(json.loads, result.text.splitlines())}
    assert {name for name, row in rows.items() if "error" in row} == {
        "in/cut.jpg", "in/empty.jpg", "in/page.jpg", "gone.png",
    }  # fmt: skip
    assert rows["in/good.jpg"]["output"] == "out/good.jpg"
    assert rows["in/good.jpg"]["stop_reason"] == "strength-zero"
    assert rows["in/good.jpg"]["degradations"] == {}


def test_the_photo_goes_from_stdin_to_stdout_and_messages_to_stderr(with_bundle, photo):
    data = photo("a.png").read_bytes()
    result = with_bundle("restore", "-", "-o", "-", "--format", "webp", "--strength", 0, stdin=data)
    assert result.code == 0
    with Image.open(io.BytesIO(result.out)) as image:
        assert (image.format, image.size) == ("WEBP", (32, 24))
    assert "stdin -> stdout" in result.err
    assert with_bundle("restore", "-", stdin=b"").code == 1


def test_lost_transparency_causes_a_warning(with_bundle, workplace):
    Image.new("RGBA", (16, 16), (10, 20, 30, 0)).save("a.png")
    result = with_bundle("restore", "a.png", "-o", "a.jpg", "--strength", 0)
    assert "JPEG has no transparency" in result.err
    assert pixels("a.jpg").min() == 255


def test_a_degradation_that_the_bundle_does_not_know_is_a_usage_error(with_bundle, photo):
    result = with_bundle("restore", photo("a.png"), "--only", "snow")
    assert (result.code, os.listdir()) == (2, ["a.png"])
    assert "does not know 'snow'" in result.err
    assert "noise, haze, rain" in result.err


INVALID = {
    "an unknown degradation": (["--only", "nosie"], 2, "Did you mean 'noise'"),
    "too strong": (["--strength", 2], 2, "expected 0.0 to 1.0"),
    "no steps": (["--steps", 0], 2, "expected 1 to 1000"),
    "no such format": (["--format", "gif"], 2, "expected one of jpeg, png"),
    "no such device": (["--device", "gpu"], 4, "expected auto, cpu, cuda or cuda:N"),
    "no such CUDA device": (["--device", "cuda:99"], 4, "cannot run on cuda:99"),
    "only nothing": (["--only", ""], 2, "--only is empty"),
    "a name that is too long": (["-o", "x" * 300 + ".png"], 1, "File name too long"),
    "no such bundle": (["--bundle", "nowhere"], 3, "no bundle 'nowhere'"),
    "a folder that is no bundle": (["--bundle", "."], 3, "UNDEGRADE_BUNDLES"),
    "a prompt without words": (["--prompt", " "], 2, "--prompt is empty"),
    "prompt and only": ([*PASS, "--only", "noise"], 2, "a prompt says"),
    "json and the photo to stdout": (["--json", "-o", "-"], 2, "would both go to stdout"),
    "a picture beside stdout": (["--compare", "side", "-o", "-"], 2, "goes to stdout"),
    "no such option": (["--strenght", 1], 2, "No such option"),
    "no such policy": (["--exists", "maybe"], 2, "'skip', 'replace'"),
    "nothing to consider": (["--skip", "noise,haze,rain"], 2, "leave nothing to consider"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_option_is_reported_with_its_exit_code(with_bundle, photo, case):
    words, code, sentence = INVALID[case]
    result = with_bundle("restore", photo("a.png"), *words)
    assert (result.code, result.out) == (code, b"")
    assert sentence in " ".join(result.err.replace("│", " ").split())
    assert os.listdir() == ["a.png"]


@pytest.mark.slow
def test_a_process_restores_good_files_and_refuses_bad_files(process, photo, bundles):
    photo("good.png")
    Path("bad.png").write_bytes(b"no photo")
    result = process("restore", "good.png", "bad.png", *PASS, UNDEGRADE_BUNDLES=str(bundles))
    assert result.code == 1
    assert sorted(os.listdir()) == ["bad.png", "good.png", "good.restored.png"]
    assert result.out == b""
    assert "bad.png is not an image" in result.err
    assert "Traceback" not in result.err


INTERRUPTED = {
    "restoring, by Ctrl-C": (["restore", "a.png", "--strength", "0"], signal.SIGINT, 130),
    "comparing, by kill": (["compare", "a.png", "a.png", "-o", "side.png"], signal.SIGTERM, 143),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if "Ctrl-C" in case else case for case in INTERRUPTED]
)
def test_an_interrupted_run_leaves_no_partial_file(photo, bundles, case):
    words, number, code = INTERRUPTED[case]
    photo("a.png")
    script = (
        "import os, time\n"
        "def slow(number):\n"
        "    os.write(2, b'half written\\n')\n"
        "    time.sleep(60)\n"
        "os.fsync = slow\n"
        "from cli.main import main; main()"
    )
    env = {**os.environ, "UNDEGRADE_BUNDLES": str(bundles), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.PIPE, env=env)
    with child:
        while child.stderr.readline() != b"half written\n":
            assert child.poll() is None
        assert len(os.listdir()) == 2
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert (child.returncode, os.listdir()) == (code, ["a.png"])
    assert b"Traceback" not in err


SHIPPED = Path(__file__).parents[2] / "models" / "bundles" / "autodir-small"


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="models/bundles/autodir-small is not there")
def test_the_shipped_bundle_restores_a_sample_photograph(undegrade, workplace):
    sample = Path(__file__).parents[2] / "examples" / "raccoon-noisy.jpg"
    with Image.open(sample) as image:
        image.crop((0, 0, 160, 160)).save("noisy.png")
    result = undegrade("restore", "noisy.png", "--json", "--max-passes", 1)
    row = json.loads(result.text)
    assert result.code == 0
    assert next(iter(row["degradations"])) == "noise"
    assert row["repaired"] == ["noise"]


def test_the_credit_of_a_bundle_is_in_its_manifest_and_in_the_report(undegrade, bundles, workplace, photo):
    shutil.copytree(bundles / "autodir-small", workplace / "credited")
    manifest = read_manifest(Path("credited"))
    assert "credit" not in (bundles / "autodir-small" / "bundle.json").read_text(), "earlier versions would refuse it"
    write_manifest(Path("credited"), manifest.model_copy(update={"credit": "Weights by A. Weaver"}))
    assert json.loads(undegrade("models", "show", "credited").text)["credit"] == "Weights by A. Weaver"
    for bundle, credit in (("credited", "Weights by A. Weaver"), (str(bundles / "autodir-small"), "")):
        result = undegrade(
            "restore", photo("a.png"), "--bundle", bundle, "--json", "--strength", 0, "-o", f"{len(credit)}/"
        )
        assert (result.code, json.loads(result.text)["credit"]) == (0, credit), result.err


def mode(path):
    return Path(path).stat().st_mode & 0o777


def test_results_and_comparisons_are_no_more_open_than_the_photo(with_bundle, photo):
    photo("a.png").chmod(0o600)
    assert with_bundle("restore", "a.png", "--strength", 0, "--compare", "side").code == 0
    assert [mode(name) for name in ("a.restored.png", "a.restored.compare.png")] == [0o600] * 2
    photo("b.png").chmod(0o644)
    assert with_bundle("compare", "a.png", "b.png", "-o", "side.png").code == 0
    assert mode("side.png") == 0o600


def test_a_photo_behind_a_link_is_restored_in_place_and_the_link_stays(with_bundle, photo):
    photo("real.png").chmod(0o640)
    before = Path("real.png").read_bytes()
    os.mkdir("l")
    Path("l/a.png").symlink_to("../real.png")
    assert with_bundle("restore", "l/a.png", "-o", "l/a.png", "--exists", "replace", *PASS).code == 0
    assert Path("l/a.png").is_symlink()
    assert Path("real.png").read_bytes() != before
    assert mode("real.png") == 0o640


ENDINGS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif"}


@pytest.mark.parametrize("ending", [".heic", ".JPG", ".png", ".webp", ".tif", "", ".Jpeg"])
@pytest.mark.parametrize("content", [*ENDINGS])
def test_the_ending_of_a_result_is_that_of_its_content(with_bundle, photo, content, ending):
    photo("x.png", format=content).rename(f"in{ending}")
    result = with_bundle("restore", f"in{ending}", "--strength", 0)
    assert result.code == 0
    (name,) = [name for name in os.listdir() if ".restored" in name]
    with Image.open(name) as image:
        assert image.format.lower() == content
    assert (
        Path(name).suffix.lower() in {".jpeg", ".jpg"} if content == "jpeg" else Path(name).suffix == ENDINGS[content]
    )
    honest = ending.lower().replace(".jpeg", ".jpg") in (ENDINGS[content], "")
    assert ("in spite of its extension" in result.err) is not honest
    again = with_bundle("restore", f"in{ending}", "--strength", 0)
    assert "skipped" in again.err
    assert len(os.listdir()) == 2


def test_a_lying_ending_takes_no_name_of_another_photo(with_bundle, photo):
    photo("in/a.jpg")
    photo("in/b.png", format="jpeg").rename("in/a.png")
    result = with_bundle("restore", "in", "--strength", 0, "-o", "out")
    assert result.code == 0
    assert sorted(os.listdir("out")) == ["a-2.jpg", "a.jpg"]


def test_photos_with_one_name_and_left_out_files_stop_nothing_and_are_said(with_bundle, photo):
    for name in ("in/a.jpg", "in/a.png", "in/c.png", "in/.h.png"):
        photo(name)
    Path("in/d.heic").write_bytes(b"x")
    Path("in/empty.png").write_bytes(b"")
    result = with_bundle("restore", "in", "-o", "out", "--format", "png", "--strength", 0)
    assert result.code == 1
    assert sorted(os.listdir("out")) == ["a-2.png", "a.png", "c.png"]
    assert "in/a.jpg is written to out/a-2.png: another photo has its name" in result.err
    assert "3 restored, 0 skipped, 1 failed" in result.err
    assert "1 left out (hidden): in/.h.png" in result.err
    assert "1 left out (other extensions): in/d.heic" in result.err
    assert np.array_equal(pixels("out/a.png"), pixels("in/a.png"))


@pytest.mark.parametrize("stem", ["n" * 241, "n" * 251, "ä" * 125, "😀" * 62])
@pytest.mark.parametrize("out", [[], ["-o", "out/"]])
def test_the_longest_names_are_restored(with_bundle, photo, stem, out):
    photo("x.png").rename(f"{stem}.png")
    assert with_bundle("restore", f"{stem}.png", *out, "--strength", 0, "--compare", "side").code == 0
    folder = Path("out" if out else ".")
    results = [name for name in os.listdir(folder) if name != f"{stem}.png" or out]
    assert len(results) == 2
    if out:
        assert f"{stem}.png" in results


def test_the_words_about_a_change_are_those_of_the_pixels(with_bundle, photo):
    path = photo("a.png")
    assert "(no visible change)" in with_bundle("restore", path, "--strength", 0).err
    result = with_bundle("restore", path, "-o", "b.png", *PASS)
    far = np.abs(pixels("b.png").astype(int) - pixels("a.png")).max() > 1
    assert ("(no visible change)" in result.err) is not far
