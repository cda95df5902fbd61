"""The data folder of `serve` belongs to its user alone, and a place that cannot be used is named with the remedy."""

import os
import stat
from pathlib import Path

import pytest

from cli.embedded_redis import EmbeddedRedis
from cli.private_files import OURS, default_folder, make_private
from models.errors import ControlsError


def modes(folder):
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in [folder, *folder.rglob("*")]}


def test_nobody_else_can_open_the_data_of_serve(tmp_path):
    old = os.umask(0)
    try:
        with EmbeddedRedis(tmp_path / "below" / "data") as redis:
            found = modes(redis.folder)
            assert len(found) >= 6
            assert [name for name, mode in found.items() if mode & 0o077 and name not in ("lock", "socket")] == [
                "valkey.log"
            ]  # the umask of `serve` does the rest
            make_private(redis.folder)
            assert [name for name, mode in modes(redis.folder).items() if mode & 0o077] == []
    finally:
        os.umask(old)


def test_an_open_folder_of_an_earlier_version_is_closed(tmp_path):
    folder = tmp_path / "data"
    (folder / "appendonlydir").mkdir(parents=True, mode=0o755)
    for name in ("lock", "socket", "valkey.log", "appendonlydir/appendonly.aof.1.incr.aof"):
        (folder / name).write_bytes(b"")
        (folder / name).chmod(0o644)
    make_private(folder)
    assert [name for name, mode in modes(folder).items() if mode & 0o077] == []
    assert {path.name for path in folder.iterdir()} == set(OURS)


def test_a_folder_with_other_things_keeps_its_permissions(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    (folder / "notes.txt").write_bytes(b"")
    before = modes(folder)
    make_private(folder)
    assert modes(folder) == before


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/undegrade", "/dev/null", "x" * 300])
def test_a_data_folder_that_cannot_be_used_is_named_with_the_remedy(undegrade, bundles, workplace, monkeypatch, place):
    monkeypatch.setenv("UNDEGRADE_BUNDLES", str(bundles))
    Path("file").write_bytes(b"")
    old = os.umask(0o022)
    try:
        result = undegrade("serve", "--port", 0, "--data", place)
    finally:
        os.umask(old)
    assert result.code == 2
    assert "--data" in result.err
    assert place in result.err
    assert "bug" not in result.err


def test_without_a_home_the_remedy_is_named(monkeypatch):
    def no_entry(path):
        return path

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", no_entry)  # what it returns without HOME and without a passwd entry
    with pytest.raises(ControlsError, match=r"--data.*UNDEGRADE_DATA"):
        default_folder(8000)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_folder(8000) == Path("/state/undegrade/serve-8000")
