"""The stages of `daclip-small` by command, each on the result of an earlier one."""

import subprocess
import sys

import pytest


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "models.training", *map(str, words)], capture_output=True, text=True, timeout=250
    )


@pytest.mark.slow
def test_the_small_networks_train_by_command(named_photos, tmp_path):
    shared = ("--images", named_photos, "--cache", tmp_path / "cache", "--steps", 2, "--loaders", 0, "--threads", 1)
    assert command("daclip", *shared, "--batch", 4, "--out", tmp_path / "daclip").returncode == 0
    weights = tmp_path / "daclip" / "best.safetensors"
    for stage in ("nafnet-daclip", "irsde", "etdiffir"):
        options = ("--batch", 2, "--crop", 32, "--daclip", weights, "--out", tmp_path / stage)
        done = command(stage, *shared, *options)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / stage / "best.safetensors").exists()
