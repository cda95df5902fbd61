"""Which files are worked on and where results go: on real folders, without a model."""

from pathlib import Path

import pytest

from cli.inputs import Exists, Work, find_inputs, free_name, place, plan_work
from models.errors import ControlsError


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(b"x")

    return write


def targets(*words, out=None, kind=None, exists=Exists.SKIP):
    return {str(work.source): str(work.target) for work in plan_work(words, out, kind, exists).work}


def test_one_photo_gets_its_result_beside_it(files):
    files("a/photo.jpg")
    assert targets("a/photo.jpg") == {"a/photo.jpg": "a/photo.restored.jpg"}


def test_folders_are_walked_and_only_photos_taken(files):
    files("in/a.jpg", "in/below/b.PNG", "in/notes.txt", "in/.hidden.jpg", "in/c.webp")
    assert targets("in", out="out") == {
        "in/a.jpg": "out/a.jpg", "in/below/b.PNG": "out/below/b.PNG", "in/c.webp": "out/c.webp",
    }  # fmt: skip


def test_globs_are_expanded_where_the_shell_did_not(files):
    files("x/a.tif", "x/y/b.tif", "x/c.png")
    assert list(targets("x/**/*.tif")) == ["x/a.tif", "x/y/b.tif"]


def test_a_name_with_brackets_is_a_name_before_it_is_a_pattern(files):
    files("img[1].jpg", "img1.jpg")
    assert list(targets("img[1].jpg")) == ["img[1].jpg"]


def test_a_format_changes_the_ending_and_only_where_it_is_another(files):
    files("a.png", "b.jpeg")
    assert targets("a.png", "b.jpeg", kind="jpeg") == {"a.png": "a.restored.jpg", "b.jpeg": "b.restored.jpeg"}


def test_dots_in_a_name_survive(files):
    files("in/photo.v2.jpg")
    assert targets("in", out="out", kind="png") == {"in/photo.v2.jpg": "out/photo.v2.png"}


@pytest.mark.parametrize("out", ["out/", "out", "new.folder/"])
def test_an_output_that_looks_like_a_folder_is_one(files, out):
    files("a.jpg")
    assert targets("a.jpg", out=out) == {"a.jpg": str(Path(out) / "a.jpg")}


def test_an_output_file_takes_one_photo(files):
    files("a.jpg", "b.jpg")
    assert targets("a.jpg", out="out/x.png") == {"a.jpg": "out/x.png"}
    with pytest.raises(ControlsError, match="one file, but there are 2"):
        targets("a.jpg", "b.jpg", out="x.png")


@pytest.mark.parametrize("out", ["x.gif", "x.jpgg", "notes.txt"])
def test_an_output_with_an_unknown_ending_is_a_mistake(files, out):
    files("a.jpg", "notes.txt")
    with pytest.raises(ControlsError, match=r"expected an ending of \.jpg"):
        targets("a.jpg", out=out)


def test_an_output_and_a_format_must_agree(files):
    files("a.jpg")
    with pytest.raises(ControlsError, match="which is png"):
        targets("a.jpg", out="x.png", kind="jpeg")


def test_results_of_an_earlier_run_are_no_inputs_of_the_next(files):
    files("in/a.jpg", "in/a.restored.jpg", "in/a.restored-2.jpg", "in/a.restored.compare.png")
    assert list(targets("in")) == ["in/a.jpg"]
    named = ["in/a.jpg", "in/a.restored.compare.png", "in/a.restored.jpg"]  # as a shell expands in/*
    assert list(targets(*named)) == ["in/a.jpg"]


def test_an_output_folder_inside_the_input_folder_is_not_walked(files):
    files("in/a.jpg", "in/restored/a.jpg")
    assert list(targets("in", out="in/restored")) == ["in/a.jpg"]


def test_a_folder_that_lies_in_the_output_folder_is_still_read(files):
    files("holiday/deep/b.png")
    assert targets("holiday/deep", out=".") == {"holiday/deep/b.png": "b.png"}


def test_a_result_can_be_restored_again_when_it_is_named_alone(files):
    files("a.jpg", "a.restored.jpg")
    assert targets("a.restored.jpg") == {"a.restored.jpg": "a.restored.restored.jpg"}


def test_two_photos_never_share_a_result(files):
    files("a/x.jpg", "b/x.jpg", "c/y.png", "c/y.jpg")
    with pytest.raises(ControlsError, match=r"a/x\.jpg and b/x\.jpg would both become out/x\.jpg"):
        targets("a/x.jpg", "b/x.jpg", out="out")
    with pytest.raises(ControlsError, match="would both become"):
        targets("c", out="out", kind="webp")


def test_a_result_does_not_take_its_inputs_place_unasked(files):
    files("in/a.jpg")
    with pytest.raises(ControlsError, match="its own place"):
        targets("in", out="in")
    assert targets("in", out="in", exists=Exists.REPLACE) == {"in/a.jpg": "in/a.jpg"}


def test_words_that_name_no_photo_are_told_and_stop_nothing(files):
    files("a.jpg", "empty/notes.txt")
    plan = plan_work(["gone.jpg", "a.jpg", "empty", "*.webp"], None, None)
    assert [work.source for work in plan.work] == [Path("a.jpg")]
    assert [*plan.missing] == ["gone.jpg", "empty", "*.webp"]
    assert "does not exist" in plan.missing["gone.jpg"]
    assert "no photo in empty" in plan.missing["empty"]


def test_an_empty_word_is_not_the_current_folder(files):
    files("a.jpg")
    plan = plan_work(["", "a.jpg"], None, None)
    assert [work.source for work in plan.work] == [Path("a.jpg")]
    assert "empty name" in plan.missing[""]


def test_a_link_that_runs_in_a_ring_is_left_to_the_reader(files):
    Path("ring.png").symlink_to("ring.png")
    assert targets("ring.png") == {"ring.png": "ring.restored.png"}


def test_a_result_does_not_take_its_inputs_place_through_a_link(files):
    files("in/a.jpg")
    Path("out").symlink_to("in")
    with pytest.raises(ControlsError, match="its own place"):
        targets("in/a.jpg", out="out/a.jpg")


def test_a_photo_that_is_named_twice_is_restored_once(files):
    files("in/a.jpg")
    assert list(find_inputs(["in/a.jpg", "in", "in/*.jpg"]).photos) == [Path("in/a.jpg")]


def test_stdin_and_stdout(files):
    files("a.jpg", "b.jpg")
    assert plan_work(["-"], None, None).work == [Work(None, None)]
    assert plan_work(["-"], "x.png", None).work == [Work(None, Path("x.png"))]
    assert plan_work(["a.jpg"], "-", None).work == [Work(Path("a.jpg"), None)]
    with pytest.raises(ControlsError, match="give it alone"):
        plan_work(["-", "a.jpg"], None, None)
    with pytest.raises(ControlsError, match="one photo to stdout; got 2"):
        plan_work(["a.jpg", "b.jpg"], "-", None)
    with pytest.raises(ControlsError, match="not a photo's name"):
        plan_work(["-"], "folder/", None)


def test_a_place_is_kept_taken_or_found(files):
    files("a.jpg", "a-2.jpg")
    taken = Path("a.jpg")
    assert place(taken, Exists.SKIP) is None
    assert place(taken, Exists.REPLACE) == taken
    assert place(taken, Exists.RENAME) == free_name(taken) == Path("a-3.jpg")
    assert place(Path("new.jpg"), Exists.SKIP) == Path("new.jpg")
