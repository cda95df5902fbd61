"""The wheels of undegrade: what is in them, and that the bundle of the second one is found."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from models.bundle import read_manifest

ROOT = Path(__file__).parents[1]
LARGEST_BYTES = 100_000_000
"""The Python package index takes no larger file."""
FIND = "from models.bundle import find_bundle; print(find_bundle('daclip-small'))"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of `make wheels`, by the first words of their names."""
    folder = tmp_path_factory.mktemp("dist")
    for project in (ROOT, ROOT / "distributions" / "daclip-small"):
        words = ("-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(project))
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=280, check=False)
        if done.returncode and "No matching distribution" in done.stderr:
            pytest.skip("no package index can be reached, which pip needs to build wheels")
        assert done.returncode == 0, done.stderr
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


@pytest.mark.slow
def test_the_wheels_fit_the_index_and_share_the_bundles(wheels):
    assert set(wheels) == {"undegrade", "undegrade_daclip_small"}
    names = {key: set(zipfile.ZipFile(path).namelist()) for key, path in wheels.items()}
    for key, path in wheels.items():
        assert path.stat().st_size < LARGEST_BYTES, key
    for bundle, key, folder in (
        ("autodir-small", "undegrade", "models/bundles"),
        ("daclip-small", "undegrade_daclip_small", "undegrade_bundles"),
    ):
        files = {"bundle.json", *read_manifest(ROOT / "models" / "bundles" / bundle).files}
        assert {f"{folder}/{bundle}/{file}" for file in files} <= names[key]
    assert not any("daclip-small" in name for name in names["undegrade"])
    assert "models/training/learn/replay.safetensors" in names["undegrade"], "`undegrade learn` reads it"
    assert not any(name.endswith(".py") for name in names["undegrade_daclip_small"])


@pytest.mark.slow
def test_the_installed_wheels_find_the_second_bundle_and_the_first_alone_says_how(wheels, tmp_path):
    for path in wheels.values():
        zipfile.ZipFile(path).extractall(tmp_path / path.name)
    first, second = (str(tmp_path / wheels[key].name) for key in ("undegrade", "undegrade_daclip_small"))
    runs = []
    for sites in ((first,), (first, second)):
        code = f"import sys; sys.path[:0] = {sites!r}; {FIND}"
        environment = {"XDG_DATA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        runs.append(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
            )
        )
    assert runs[0].returncode and "Install the wheel undegrade-daclip-small" in runs[0].stderr
    assert runs[1].stdout.strip() == f"{second}/undegrade_bundles/daclip-small", runs[1].stderr
