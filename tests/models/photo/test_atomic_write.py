"""A written file is complete, never more open than its sources, and a link stays a link."""

import os
import stat

import pytest

from models.errors import PhotoError
from models.photo.atomic_write import write_atomically


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077, 0o000])
def umask(request):
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


@pytest.mark.parametrize("source_mode", [0o600, 0o640, 0o644, 0o400, 0o755, 0o666])
def test_a_result_is_never_more_open_than_its_source(tmp_path, umask, source_mode):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(b"in")
    source.chmod(source_mode)
    write_atomically(target, b"out", [source])
    assert mode(target) & ~source_mode == 0
    assert mode(target) & umask == 0
    assert mode(target) == 0o666 & ~umask & source_mode  # and no narrower than needed
    write_atomically(source, b"new", [source])
    assert (source.read_bytes(), mode(source)) == (b"new", source_mode)
    assert {path.name for path in tmp_path.iterdir()} == {"in.png", "out.png"}


def test_a_replaced_file_does_not_become_more_open(tmp_path):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(b"in")
    source.chmod(0o644)
    target.write_bytes(b"old")
    target.chmod(0o600)
    write_atomically(target, b"out", [source])
    assert (target.read_bytes(), mode(target)) == (b"out", 0o600)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_file_is_replaced(tmp_path, there):
    real, link = tmp_path / "real.png", tmp_path / "l" / "a.png"
    link.parent.mkdir()
    if there:
        real.write_bytes(b"old")
    link.symlink_to("../real.png")
    write_atomically(link, b"new", [link])
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "ä" * 125 + ".png"])
def test_the_longest_names_are_written(tmp_path, name):
    write_atomically(tmp_path / name, b"data")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("place", ["file/below/a.png", "folder", "x" * 300, "ring.png", "/proc/undegrade.png"])
def test_a_place_that_cannot_be_written_is_a_photo_error(tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "ring.png").symlink_to("ring.png")
    with pytest.raises(PhotoError, match="cannot write"):
        write_atomically(tmp_path / place, b"data")
    assert not list(tmp_path.glob(".*.part"))
