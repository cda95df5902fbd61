"""The other commands: detect, compare, models, doctor; settings, help and the version."""

import json
import math
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.session import memory_in_words
from models.errors import DeviceError


def size(path):
    with Image.open(path) as image:
        return image.size


def test_detect_gives_probabilities_that_sum_to_one_and_changes_nothing(with_bundle, photo):
    photo("in/a.png")
    photo("in/b.jpg")
    done = with_bundle("detect", "in", "--json")
    rows = [json.loads(line) for line in done.text.splitlines()]
    assert (done.code, [row["input"] for row in rows]) == (0, ["in/a.png", "in/b.jpg"])
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert list(row["probabilities"]) == sorted(row["probabilities"], key=lambda name: -row["probabilities"][name])
    assert sorted(os.listdir("in")) == ["a.png", "b.jpg"]


def test_detect_shows_a_table_and_fails_on_what_is_no_photo(with_bundle, photo):
    Path("bad[b].png").write_bytes(b"no")
    done = with_bundle("detect", photo("[red]a.png"), "bad[b].png", "gone.png")
    assert done.code == 1
    assert "[red]a.png" in done.text
    assert "bad[b].png is not an image" in done.err
    assert "gone.png does not exist" in done.err
    alone = with_bundle("detect", "-", stdin=Path("[red]a.png").read_bytes())
    assert "stdin" in alone.text


def test_compare_knows_psnr_and_ssim(undegrade, workplace):
    Image.fromarray(np.full((20, 20, 3), 100, np.uint8)).save("a.png")
    Image.fromarray(np.full((20, 20, 3), 110, np.uint8)).save("b.png")
    done = undegrade("compare", "a.png", "b.png", "--json", "-o", "side.png")
    figures = json.loads(done.text)
    assert figures["psnr_db"] == pytest.approx(20 * math.log10(255 / 10))
    c1 = (0.01 * 255) ** 2  # of two flat pictures only the luminance term is left
    assert figures["ssim"] == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1))
    assert size("side.png") == (44, 20)
    assert "PSNR 28.13 dB" in undegrade("compare", "a.png", "b.png").text


def test_compare_says_when_pictures_are_equal_too_small_or_of_different_sizes(undegrade, photo):
    a = photo("a.png", height=8, width=8)
    assert undegrade("compare", a, a).text.split() == ["equal", "too", "small", "for", "SSIM"]
    assert json.loads(undegrade("compare", a, a, "--json").text) == {"psnr_db": None, "ssim": None}
    done = undegrade("compare", a, photo("b.png", height=8, width=9))
    assert done.code == 1
    assert "8 x 8 and 9 x 8" in done.err


def test_compare_overwrites_nothing_unasked(undegrade, photo):
    a, kept = photo("a.png"), Path("side.png")
    kept.write_bytes(b"mine")
    assert "already there" in undegrade("compare", a, a, "-o", kept).err
    assert kept.read_bytes() == b"mine"
    undegrade("compare", a, a, "-o", kept, "--exists", "replace")
    assert size(kept) == (68, 24)
    assert undegrade("compare", a, a, "-o", "side.gif").code == 2


def test_models_are_listed_and_shown(with_bundle):
    listed = with_bundle("models", "list")
    assert listed.code == 0
    assert "autodir-small" in listed.text
    assert "noise, haze, rain" in listed.text
    shown = json.loads(with_bundle("models", "show", "autodir-small").text)
    assert shown["family"] == "autodir"
    assert [entry["name"] for entry in shown["degradations"]] == ["noise", "haze", "rain", "clean"]


def test_one_flipped_byte_of_a_bundle_is_found_and_named(with_bundle, bundles, workplace):
    assert with_bundle("models", "verify").code == 0
    copy = shutil.copytree(bundles / "autodir-small", workplace / "copy")
    weights = bytearray((copy / "scm.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "scm.safetensors").write_bytes(weights)
    done = with_bundle("models", "verify", copy)
    assert done.code == 3
    assert "scm.safetensors" in done.err
    (copy / "bundle.json").write_text("{")
    assert with_bundle("models", "verify", copy).code == 3


def test_a_damaged_manifest_does_not_hide_the_other_bundles(undegrade, bundles, workplace, monkeypatch):
    (workplace / "more" / "broken").mkdir(parents=True)
    (workplace / "more" / "broken" / "bundle.json").write_text("{")
    monkeypatch.setenv("UNDEGRADE_BUNDLES", f"{workplace / 'more'}{os.pathsep}{bundles}")
    done = undegrade("models", "list")
    assert done.code == 3
    assert "autodir-small" in done.text
    assert "broken" in done.err


def test_the_doctor_looks_at_everything_and_finds_this_machine_well(with_bundle):
    done = with_bundle("doctor")
    verdicts = {
        cells[1]: cells[2] for line in done.text.splitlines() if len(cells := [c.strip() for c in line.split("│")]) > 3
    }
    assert {"python", "torch", "torchvision", "device", "bundle", "networks", "memory", "disk", "settings"} <= set(
        verdicts
    )
    wrong = {name for name, verdict in verdicts.items() if verdict == "WRONG"}
    assert wrong <= {"memory"}  # a busy machine may lack it
    assert (done.code == 0) == (not wrong)


def test_the_doctor_names_what_is_wrong_and_goes_on(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cuda:99")
    monkeypatch.setenv("UNDEGRADE_BUNDLE", "nowhere")
    done = with_bundle("doctor")
    assert done.code == 4
    assert "no bundle 'nowhere'" in " ".join(done.text.replace("│", " ").split())
    assert done.text.count("WRONG") >= 3


@pytest.mark.parametrize("value", ["abc", "0", "-1"])
def test_a_wrong_setting_is_named_before_anything_is_loaded(undegrade, monkeypatch, value):
    monkeypatch.setenv("UNDEGRADE_THREADS", value)
    done = undegrade("models", "list")
    assert done.code == 2
    assert f"UNDEGRADE_THREADS={value}" in done.err


def test_an_unknown_setting_is_warned_of_with_the_nearest_name(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVCE", "cpu")
    done = with_bundle("models", "verify")
    assert done.code == 0
    assert "UNDEGRADE_DEVCE is not a setting; did you mean UNDEGRADE_DEVICE?" in done.err


def test_settings_stand_in_for_options_and_options_win(with_bundle, photo, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cuda:99")
    assert with_bundle("detect", photo("a.png")).code == 4
    assert with_bundle("detect", "a.png", "--device", "cpu").code == 0


def test_debug_shows_the_traceback(process, workplace):
    assert "Traceback" not in process("compare", "a", "b").err
    assert "Traceback" in process("compare", "a", "b", UNDEGRADE_DEBUG="1").err


def test_version_and_help(process, workplace):
    assert process("--version").text == f"undegrade {version('undegrade')}\n"
    page = process("--help").text
    assert all(name in page for name in ("restore", "detect", "evaluate", "compare", "models", "doctor", "Exit codes"))
    assert "undegrade restore photo.jpg" in page
    assert process("restroe").code == 2


@pytest.mark.parametrize("words", ["restore", "detect", "evaluate", "compare", "doctor", "models", "models verify"])
def test_every_command_explains_itself(undegrade, words):
    done = undegrade(*words.split(), "--help")
    assert done.code == 0
    assert f"undegrade {words}" in done.text
    assert len(done.text) > 300


def shell(words):
    """Run by a shell, which can close streams."""
    script = f"{sys.executable} -c 'from cli.main import main; main()' {words}"
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is not there")
def test_a_full_disk_behind_stdout_is_a_sentence(photo):
    photo("a.png")
    done = shell("compare a.png a.png > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: cannot use standard input or output: No space left on device.\n"


def test_streams_that_the_parent_closed_stop_nothing(photo):
    photo("a.png")
    assert shell("compare a.png a.png -o side.png <&- >&- 2>&-").returncode == 0
    assert size("side.png") == (68, 24)


def test_running_out_of_memory_is_a_sentence_and_not_an_allocators():
    import torch

    with pytest.raises(DeviceError, match=r"out of memory\. Close other programs"), memory_in_words():
        torch.empty(2**50)  # 4 PiB
    with pytest.raises(RuntimeError, match="size"), memory_in_words():
        torch.zeros(2) + torch.zeros(3)  # our own mistakes keep their names
