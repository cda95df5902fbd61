"""Which files a command works on and where results go: what `undegrade restore` promises about names."""

from pathlib import Path

import pytest

from cli.inputs import plan_work
from models.errors import ControlsError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`holiday/` with a photo and a text, and `work/` with a photo of the same name; the test stands above them."""
    monkeypatch.chdir(tmp_path)
    for name in ("holiday/a.jpg", "holiday/deep/b.png", "holiday/notes.txt", "work/a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def named(words, out=None, kind=None):
    return {str(work.source): str(work.target) for work in plan_work(words, out, kind)}


def test_a_folder_is_walked_and_keeps_its_shape(folder):
    assert named(["holiday"], "out") == {"holiday/a.jpg": "out/a.jpg", "holiday/deep/b.png": "out/deep/b.png"}


def test_a_single_photo_gets_its_result_beside_it(folder):
    assert named(["holiday/a.jpg"], kind="webp") == {"holiday/a.jpg": "holiday/a.restored.webp"}


def test_results_beside_their_inputs_are_not_restored_again(folder):
    before = named(["holiday"])
    for target in before.values():
        Path(target).write_bytes(b"x")
        Path(target).with_name(f"{Path(target).stem}.compare.png").write_bytes(b"x")
    Path("holiday/a.restored-2.jpg").write_bytes(b"x")
    assert named(["holiday"]) == before


def test_results_in_a_folder_below_are_not_restored_again(folder):
    before = named(["holiday"], "holiday/restored")
    for target in before.values():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_bytes(b"x")
    assert named(["holiday"], "holiday/restored") == before


def test_a_folder_that_lies_in_the_output_folder_is_still_read(folder):
    assert named(["holiday/deep"], ".") == {"holiday/deep/b.png": "b.png"}


def test_two_photos_that_would_share_a_name_are_refused(folder):
    with pytest.raises(ControlsError, match=r"holiday/a\.jpg and work/a\.jpg would both become out/a\.jpg"):
        plan_work(["holiday", "work"], "out", None)


def test_two_formats_that_would_become_one_are_refused(folder):
    Path("work/a.png").write_bytes(b"x")
    with pytest.raises(ControlsError, match="would both become"):
        plan_work(["work"], None, "png")
