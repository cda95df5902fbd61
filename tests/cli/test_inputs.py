"""The choice of input files and output paths, on real folders and without a model."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.inputs import IfExists, PhotoPaths, find_photos, output_path, plan_outputs, unused_path
from models.errors import ControlsError
from models.photo.read import FORMATS, format_of


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(b"x")

    return write


def targets(*words, out=None, photo_format=None, exists=IfExists.SKIP):
    return {str(paths.source): str(paths.target) for paths in plan_outputs(words, out, photo_format, exists).photos}


def test_a_result_is_written_beside_its_photo(files):
    files("a/photo.jpg")
    assert targets("a/photo.jpg") == {"a/photo.jpg": "a/photo.restored.jpg"}


def test_folders_are_searched_for_photos_recursively(files):
    files("in/a.jpg", "in/below/b.PNG", "in/notes.txt", "in/.hidden.jpg", "in/c.webp")
    assert targets("in", out="out") == {
        "in/a.jpg": "out/a.jpg", "in/below/b.PNG": "out/below/b.PNG", "in/c.webp": "out/c.webp",
    }  # fmt: skip


def test_glob_patterns_are_expanded(files):
    files("x/a.tif", "x/y/b.tif", "x/c.png")
    assert list(targets("x/**/*.tif")) == ["x/a.tif", "x/y/b.tif"]


def test_an_existing_name_with_brackets_is_not_a_pattern(files):
    files("img[1].jpg", "img1.jpg")
    assert list(targets("img[1].jpg")) == ["img[1].jpg"]


def test_a_format_changes_only_extensions_of_other_formats(files):
    files("a.png", "b.jpeg")
    assert targets("a.png", "b.jpeg", photo_format="jpeg") == {"a.png": "a.restored.jpg", "b.jpeg": "b.restored.jpeg"}


def test_dots_in_a_name_are_kept(files):
    files("in/photo.v2.jpg")
    assert targets("in", out="out", photo_format="png") == {"in/photo.v2.jpg": "out/photo.v2.png"}


@pytest.mark.parametrize("out", ["out/", "out", "new.folder/"])
def test_an_output_without_a_known_extension_may_be_a_folder(files, out):
    files("a.jpg")
    assert targets("a.jpg", out=out) == {"a.jpg": str(Path(out) / "a.jpg")}


def test_an_output_file_takes_one_photo(files):
    files("a.jpg", "b.jpg")
    assert targets("a.jpg", out="out/x.png") == {"a.jpg": "out/x.png"}
    with pytest.raises(ControlsError, match="one file, but there are 2"):
        targets("a.jpg", "b.jpg", out="x.png")


@pytest.mark.parametrize("out", ["x.gif", "x.jpgg", "notes.txt"])
def test_an_output_file_with_an_unknown_extension_is_refused(files, out):
    files("a.jpg", "notes.txt")
    with pytest.raises(ControlsError, match=r"expected an extension of \.jpg"):
        targets("a.jpg", out=out)


def test_an_output_and_a_format_must_agree(files):
    files("a.jpg")
    with pytest.raises(ControlsError, match="which is png"):
        targets("a.jpg", out="x.png", photo_format="jpeg")


def test_results_of_an_earlier_run_are_not_restored_again(files):
    files("in/a.jpg", "in/a.restored.jpg", "in/a.restored-2.jpg", "in/a.restored.compare.png")
    assert list(targets("in")) == ["in/a.jpg"]
    named = ["in/a.jpg", "in/a.restored.compare.png", "in/a.restored.jpg"]  # as a shell expands in/*
    assert list(targets(*named)) == ["in/a.jpg"]


def test_an_output_folder_inside_the_input_folder_is_not_searched(files):
    files("in/a.jpg", "in/restored/a.jpg")
    assert list(targets("in", out="in/restored")) == ["in/a.jpg"]


def test_an_input_folder_inside_the_output_folder_is_searched(files):
    files("holiday/deep/b.png")
    assert targets("holiday/deep", out=".") == {"holiday/deep/b.png": "b.png"}


def test_a_result_can_be_restored_again_when_it_is_named_alone(files):
    files("a.jpg", "a.restored.jpg")
    assert targets("a.restored.jpg") == {"a.restored.jpg": "a.restored.restored.jpg"}


def test_two_photos_never_have_the_same_result_path(files):
    files("a/x.jpg", "b/x.jpg", "c/y.png", "c/y.jpg", "c/z.webp")
    both = {"a/x.jpg": "out/x.jpg", "b/x.jpg": "out/x-2.jpg"}
    assert targets("a/x.jpg", "b/x.jpg", out="out") == targets("b/x.jpg", "a/x.jpg", out="out") == both
    assert targets("c", out="out", photo_format="png") == {
        "c/y.png": "out/y.png", "c/y.jpg": "out/y-2.png", "c/z.webp": "out/z.png",
    }  # fmt: skip
    assert [paths.shared_name for paths in plan_outputs(["a/x.jpg", "b/x.jpg"], "out", None).photos] == [False, True]


NAMES = st.tuples(
    st.sampled_from(["a", "b", "in"]), st.sampled_from(["x", "x-2", "X", "ä" * 126, "n" * 251, "😀" * 62])
)
ENDINGS = st.sampled_from([".jpg", ".jpeg", ".png", ".PNG", ".tif"])


@given(st.sets(st.tuples(NAMES, ENDINGS), min_size=1), st.sampled_from([None, "png", "jpeg", "webp"]), st.randoms())
def test_names_of_results_are_short_their_own_and_the_same_in_any_order(photos, photo_format, order):
    files = {Path(f"{folder}/{stem}{ending}"): Path(f"{stem}{ending}") for (folder, stem), ending in photos}
    named = [str(file) for file in files if len(file.name.encode()) <= 255]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in named:
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(b"x")
        for out in ("out", None):
            plan = targets(*named, out=out, photo_format=photo_format)
            assert set(plan) == set(named)
            assert len(set(plan.values())) == len(named)
            assert all(len(Path(target).name.encode()) <= 255 for target in plan.values())
            assert {format_of(target) for target in plan.values()} <= ({photo_format} if photo_format else set(FORMATS))
            shuffled = list(named)
            order.shuffle(shuffled)
            assert targets(*shuffled, out=out, photo_format=photo_format) == plan


def test_everything_that_a_folder_leaves_out_is_noted(files):
    files("in/a.jpg", "in/.hidden.jpg", "in/.git/b.jpg", "in/c.heic", "in/notes.txt", "in/a.restored.jpg", "far/d.jpg")
    Path("in/link.jpg").symlink_to("a.jpg")
    Path("in/hard.jpg").hardlink_to("in/a.jpg")
    Path("in/far").symlink_to("../far")
    Path("in/broken.jpg").symlink_to("nowhere")
    os.mkfifo("in/pipe.png")
    plan = plan_outputs(["in"], None, None)
    assert [str(paths.source) for paths in plan.photos] == ["in/a.jpg"]
    assert {reason: sorted(names) for reason, names in plan.left_out.items()} == {
        "hidden": ["in/.git", "in/.hidden.jpg"],
        "linked folders": ["in/far"],
        "not regular files": ["in/broken.jpg", "in/pipe.png"],
        "other extensions": ["in/c.heic", "in/notes.txt"],
        "other names of a photo": ["in/hard.jpg", "in/link.jpg"],
        "results of an earlier run": ["in/a.restored.jpg"],
    }


def test_an_argument_that_no_file_can_be_stops_nothing(files):
    files("a.jpg")
    plan = plan_outputs(["x" * 300, "a.jpg/b.jpg", "a.jpg", "ring/x.png"], None, None)
    assert [str(paths.source) for paths in plan.photos] == ["a.jpg"]
    assert "File name too long" in plan.missing["x" * 300]
    assert len(plan.missing) == 3


def test_a_result_replaces_its_input_only_if_asked(files):
    files("in/a.jpg")
    with pytest.raises(ControlsError, match="over its input"):
        targets("in", out="in")
    assert targets("in", out="in", exists=IfExists.REPLACE) == {"in/a.jpg": "in/a.jpg"}


def test_arguments_without_photos_are_reported_and_the_others_run(files):
    files("a.jpg", "empty/notes.txt")
    plan = plan_outputs(["gone.jpg", "a.jpg", "empty", "*.webp"], None, None)
    assert [paths.source for paths in plan.photos] == [Path("a.jpg")]
    assert [*plan.missing] == ["gone.jpg", "empty", "*.webp"]
    assert "does not exist" in plan.missing["gone.jpg"]
    assert "no photo in empty" in plan.missing["empty"]


def test_an_empty_argument_is_not_the_current_folder(files):
    files("a.jpg")
    plan = plan_outputs(["", "a.jpg"], None, None)
    assert [paths.source for paths in plan.photos] == [Path("a.jpg")]
    assert "empty name" in plan.missing[""]


def test_a_loop_of_links_does_not_stop_the_planning(files):
    Path("ring.png").symlink_to("ring.png")
    assert targets("ring.png") == {"ring.png": "ring.restored.png"}


def test_a_result_does_not_replace_its_input_through_a_link(files):
    files("in/a.jpg")
    Path("out").symlink_to("in")
    with pytest.raises(ControlsError, match="over its input"):
        targets("in/a.jpg", out="out/a.jpg")


def test_a_photo_that_is_named_twice_is_restored_once(files):
    files("in/a.jpg")
    assert list(find_photos(["in/a.jpg", "in", "in/*.jpg"]).photos) == [Path("in/a.jpg")]


def test_stdin_and_stdout_take_one_photo(files):
    files("a.jpg", "b.jpg")
    assert plan_outputs(["-"], None, None).photos == [PhotoPaths(None, None, named=True)]
    assert plan_outputs(["-"], "x.png", None).photos == [PhotoPaths(None, Path("x.png"), named=True)]
    assert plan_outputs(["a.jpg"], "-", None).photos == [PhotoPaths(Path("a.jpg"), None)]
    with pytest.raises(ControlsError, match="must be the only argument"):
        plan_outputs(["-", "a.jpg"], None, None)
    with pytest.raises(ControlsError, match="one photo to stdout, got 2"):
        plan_outputs(["a.jpg", "b.jpg"], "-", None)
    with pytest.raises(ControlsError, match="not the name of a photo"):
        plan_outputs(["-"], "folder/", None)


def test_an_existing_output_is_skipped_replaced_or_renamed(files):
    files("a.jpg", "a-2.jpg")
    taken = Path("a.jpg")
    assert output_path(taken, IfExists.SKIP) is None
    assert output_path(taken, IfExists.REPLACE) == taken
    assert output_path(taken, IfExists.RENAME) == unused_path(taken) == Path("a-3.jpg")
    assert output_path(Path("new.jpg"), IfExists.SKIP) == Path("new.jpg")
