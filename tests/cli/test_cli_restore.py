"""`undegrade restore` on good and bad files, with networks that know nothing: what comes out and what is said."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

PASS = ("--prompt", "get rid of the grain")
"""One pass for certain, whatever the random assessor thinks."""


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_photo_is_restored_beside_itself(with_bundle, photo):
    done = with_bundle("restore", photo("a.png"), *PASS)
    assert done.code == 0
    assert done.out == b""
    assert pixels("a.restored.png").shape == pixels("a.png").shape
    assert (pixels("a.restored.png") != pixels("a.png")).any()
    assert sorted(os.listdir()) == ["a.png", "a.restored.png"]
    line = next(line for line in done.err.splitlines() if line.startswith("a.png -> a.restored.png: found "))
    assert "%" in line
    assert "as asked" in line
    assert "autodir-small on cpu" in done.err


def test_strength_zero_returns_the_input_pixel_for_pixel(with_bundle, photo):
    assert with_bundle("restore", photo("a.png"), "--strength", 0).code == 0
    np.testing.assert_array_equal(pixels("a.restored.png"), pixels("a.png"))


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(with_bundle, photo):
    path = photo("a.png")
    for seed, out in ((7, "x.png"), (7, "y.png"), (8, "z.png")):
        assert with_bundle("restore", path, "-o", out, "--seed", seed, *PASS).code == 0
    x, y, z = (Path(f"{name}.png").read_bytes() for name in "xyz")
    assert x == y != z


def test_finished_photos_are_skipped_replaced_or_renamed(with_bundle, photo):
    folder = photo("in/a.png").parent
    photo("in/b.png")
    assert with_bundle("restore", folder, "-o", "out/", "--strength", 0).code == 0
    Path("out/a.png").write_bytes(b"mine")
    again = with_bundle("restore", folder, "-o", "out/", "--strength", 0)
    assert (again.code, Path("out/a.png").read_bytes()) == (0, b"mine")
    assert "out/a.png is already there, skipped" in again.err
    assert with_bundle("restore", folder, "-o", "out/", "--strength", 0, "--exists", "rename").code == 0
    assert sorted(os.listdir("out")) == ["a-2.png", "a.png", "b-2.png", "b.png"]
    assert Path("out/a.png").read_bytes() == b"mine"
    assert with_bundle("restore", folder, "-o", "out/", "--strength", 0, "--exists", "replace").code == 0
    np.testing.assert_array_equal(pixels("out/a.png"), pixels("in/a.png"))


def test_before_and_after_stand_side_by_side(with_bundle, photo):
    assert with_bundle("restore", photo("a.png"), "--compare", "side", *PASS).code == 0
    side = pixels("a.restored.compare.png")
    np.testing.assert_array_equal(side[:, :32], pixels("a.png"))
    np.testing.assert_array_equal(side[:, -32:], pixels("a.restored.png"))


def test_what_surrounds_the_pixels_survives(with_bundle, photo):
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


def test_sixteen_bits_alpha_and_gray_go_through_a_pass(with_bundle, workplace):
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
def test_any_shape_is_restored(with_bundle, photo, size):
    width, height = size
    assert with_bundle("restore", photo("a.png", height=height, width=width), *PASS).code == 0
    assert pixels("a.restored.png").shape == (height, width, 3)


def test_bad_files_fail_alone_each_with_a_sentence(with_bundle, photo):
    good = photo("in/good.jpg")
    Path("in/cut.jpg").write_bytes(good.read_bytes()[:400])
    Path("in/empty.jpg").write_bytes(b"")
    Path("in/page.jpg").write_bytes(b"<!doctype html><title>404</title>")
    done = with_bundle("restore", "in", "gone.png", "-o", "out/", "--strength", 0, "--json")
    assert done.code == 1
    assert os.listdir("out") == ["good.jpg"]
    for sentence in (
        "cut.jpg is damaged",
        "empty.jpg is empty",
        "web page",
        "gone.png does not exist",
        "4 of 5 photos",
    ):
        assert sentence in done.err
    assert "Traceback" not in done.err
    rows = {row["input"]: row for row in map(json.loads, done.text.splitlines())}
    assert {name for name, row in rows.items() if "error" in row} == {
        "in/cut.jpg", "in/empty.jpg", "in/page.jpg", "gone.png",
    }  # fmt: skip
    assert rows["in/good.jpg"]["output"] == "out/good.jpg"
    assert rows["in/good.jpg"]["stop_reason"] == "strength-zero"
    assert sum(rows["in/good.jpg"]["degradations"].values()) == pytest.approx(1, abs=1e-4)


def test_bytes_go_from_stdin_to_stdout_and_talk_to_stderr(with_bundle, photo):
    data = photo("a.png").read_bytes()
    done = with_bundle("restore", "-", "-o", "-", "--format", "webp", "--strength", 0, stdin=data)
    assert done.code == 0
    with Image.open(io.BytesIO(done.out)) as image:
        assert (image.format, image.size) == ("WEBP", (32, 24))
    assert "stdin -> stdout" in done.err
    assert with_bundle("restore", "-", stdin=b"").code == 1


def test_transparency_that_a_format_cannot_hold_is_told(with_bundle, workplace):
    Image.new("RGBA", (16, 16), (10, 20, 30, 0)).save("a.png")
    done = with_bundle("restore", "a.png", "-o", "a.jpg", "--strength", 0)
    assert "JPEG has no transparency" in done.err
    assert pixels("a.jpg").min() == 255


def test_only_one_word_to_a_bundle_that_does_not_know_it_is_wrong_usage(with_bundle, photo):
    done = with_bundle("restore", photo("a.png"), "--only", "snow")
    assert (done.code, os.listdir()) == (2, ["a.png"])
    assert "does not know 'snow'" in done.err
    assert "noise, haze, rain" in done.err


WRONG = {
    "a word that is no degradation": (["--only", "nosie"], 2, "Did you mean 'noise'"),
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
    "prompt and only": ([*PASS, "--only", "noise"], 2, "a prompt already says"),
    "json and the photo to stdout": (["--json", "-o", "-"], 2, "would both go to stdout"),
    "a picture beside stdout": (["--compare", "side", "-o", "-"], 2, "goes to stdout"),
    "no such option": (["--strenght", 1], 2, "No such option"),
    "no such policy": (["--exists", "maybe"], 2, "'skip', 'replace'"),
    "nothing to consider": (["--skip", "noise,haze,rain"], 2, "leave nothing to consider"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_words_get_a_sentence_and_their_exit_code(with_bundle, photo, case):
    words, code, sentence = WRONG[case]
    done = with_bundle("restore", photo("a.png"), *words)
    assert (done.code, done.out) == (code, b"")
    assert sentence in " ".join(done.err.replace("│", " ").split())
    assert os.listdir() == ["a.png"]


def test_a_process_of_its_own_restores_good_files_and_refuses_bad_ones(process, photo, bundles):
    photo("good.png")
    Path("bad.png").write_bytes(b"no photo")
    done = process("restore", "good.png", "bad.png", *PASS, UNDEGRADE_BUNDLES=str(bundles))
    assert done.code == 1
    assert sorted(os.listdir()) == ["bad.png", "good.png", "good.restored.png"]
    assert done.out == b""
    assert "bad.png is not an image" in done.err
    assert "Traceback" not in done.err


INTERRUPTED = {
    "restoring, by Ctrl-C": (["restore", "a.png", "--strength", "0"], signal.SIGINT, 130),
    "comparing, by kill": (["compare", "a.png", "a.png", "-o", "side.png"], signal.SIGTERM, 143),
}


@pytest.mark.parametrize("case", INTERRUPTED)
def test_an_interrupted_run_leaves_no_half_file(photo, bundles, case):
    words, number, code = INTERRUPTED[case]
    photo("a.png")
    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's & leaves it ignored
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
    started_s = time.monotonic()
    done = undegrade("restore", "noisy.png", "--json", "--max-passes", 1)
    row = json.loads(done.text)
    assert done.code == 0
    assert next(iter(row["degradations"])) == "noise", f"after {time.monotonic() - started_s:.0f} s: {row}"
    assert row["repaired"] == ["noise"]
