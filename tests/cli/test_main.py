"""What all commands share: help, version, tracebacks and closed streams."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image


def size(path):
    with Image.open(path) as image:
        return image.size


def test_undegrade_debug_shows_the_traceback(process, workplace):
    assert "Traceback" not in process("compare", "a", "b").err
    assert "Traceback" in process("compare", "a", "b", UNDEGRADE_DEBUG="1").err


def test_version_help_and_unknown_commands(process, workplace):
    assert process("--version").text == f"undegrade {version('undegrade')}\n"
    page = process("--help").text
    assert all(name in page for name in ("restore", "detect", "evaluate", "compare", "models", "doctor", "Exit codes"))
    assert "undegrade restore photo.jpg" in page
    assert process("restroe").code == 2


@pytest.mark.parametrize("words", ["restore", "detect", "evaluate", "compare", "doctor", "models", "models verify"])
def test_every_command_has_a_help_page(undegrade, words):
    result = undegrade(*words.split(), "--help")
    assert result.code == 0
    assert f"undegrade {words}" in result.text
    assert len(result.text) > 300


def shell(words):
    """Run by a shell, which can close streams."""
    script = f"{sys.executable} -c 'from cli.main import main; main()' {words}"
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is not there")
def test_a_full_disk_behind_stdout_is_reported_in_one_line(photo):
    photo("a.png")
    done = shell("compare a.png a.png > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: cannot use standard input or output: No space left on device.\n"


def test_the_command_works_with_closed_standard_streams(photo):
    photo("a.png")
    assert shell("compare a.png a.png -o side.png <&- >&- 2>&-").returncode == 0
    assert size("side.png") == (68, 24)
