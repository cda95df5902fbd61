"""Other tools beside ours: real commands and real folders, whose gains are known before they are run."""

import shlex
import shutil
import sys
import time

import numpy as np
import pytest

from models.errors import ControlsError, PhotoError
from models.evaluation.other_tools import Command, Folder, read_other, read_others, refuse_strangers
from models.evaluation.pairs import clean_pairs, find_pairs, read_pictures

COPY = "cp {input} {output}"


@pytest.fixture
def pair(tmp_path, write):
    for name in ("a.png", "b.png"):
        write(tmp_path / "eval/denoise/lq" / name, 1)
        write(tmp_path / "eval/denoise/gt" / name, 2)
    return find_pairs(tmp_path / "eval")[0]


def python(*lines):
    """A command that runs lines of Python with the input's and output's path as words 1 and 2."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote('; '.join(('import sys', *lines)))} {{input}} {{output}}"


def test_a_command_gets_the_very_picture_that_our_restorer_gets(pair):
    pictures = read_pictures(pair, crop_px=16)
    picture, seconds = Command(name="copy", source=COPY).restore(pair, pictures, crop_px=16)
    np.testing.assert_array_equal(picture, pictures.degraded)
    assert seconds > 0


def test_a_command_sees_the_pictures_own_name_and_no_shell(pair):
    check = python("p = sys.argv[1]", "assert p.endswith('a.png') and '$HOME;' in sys.argv", "sys.exit('seen')")
    command = Command(name="look", source=f"{check} '$HOME;'")
    with pytest.raises(PhotoError, match="look failed with exit code 1: seen"):
        command.restore(pair, read_pictures(pair), 0)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (python("print('out of memory', file=sys.stderr)", "sys.exit(7)"), "exit code 7: out of memory"),
        ("true {input} {output}", "wrote no {output}"),
        ("no-such-tool {input} {output}", "cannot be started: no-such-tool"),
        (python("from PIL import Image", "Image.new('RGB', (9, 8)).save(sys.argv[2])"), "9x8 px, expected 24x20 px"),
        (python("open(sys.argv[2], 'w').write('<html>')"), "a.png"),
    ],
)
def test_a_command_that_fails_says_how(pair, source, said):
    with pytest.raises(PhotoError) as failed:
        Command(name="tool", source=source).restore(pair, read_pictures(pair), 0)
    assert said in str(failed.value)


def test_a_command_that_hangs_is_stopped_with_its_children(pair, tmp_path):
    late = tmp_path / "late"
    hangs = f"sh -c '(sleep 2; touch {late}) & sleep 60' {{input}} {{output}}"
    with pytest.raises(PhotoError, match=r"longer than 0\.8 s"):
        Command(name="slow", source=hangs, timeout_s=0.8).restore(pair, read_pictures(pair), 0)
    time.sleep(2)
    assert not late.exists()


def test_a_folder_answers_by_task_and_name_then_by_name_with_any_ending(pair, tmp_path, write):
    folder = Folder(name="mine", folder=tmp_path / "mine")
    with pytest.raises(PhotoError, match=r"no picture of denoise/a\.png.*mine/denoise/a\.png and .*mine/a\.png"):
        folder.restore(pair, read_pictures(pair), 0)
    flat = write(tmp_path / "mine/a.tiff", 3)
    np.testing.assert_array_equal(folder.restore(pair, read_pictures(pair), 0)[0], flat)
    own = write(tmp_path / "mine/denoise/a.png", 4)
    picture, seconds = folder.restore(pair, read_pictures(pair), 0)
    np.testing.assert_array_equal(picture, own)
    assert seconds is None


def test_a_folders_pictures_are_cropped_where_the_truth_is(pair, tmp_path):
    (tmp_path / "mine").mkdir()
    shutil.copy(pair.truth, tmp_path / "mine/a.png")
    pictures = read_pictures(pair, crop_px=16)
    picture, _ = Folder(name="mine", folder=tmp_path / "mine").restore(pair, pictures, 16)
    np.testing.assert_array_equal(picture, pictures.truth)


def test_a_folders_picture_of_another_size_is_refused_with_both(pair, tmp_path, write):
    write(tmp_path / "mine/a.png", 3, width=20)
    with pytest.raises(PhotoError, match=r"mine/a\.png is 20x20 px, expected 24x20 px"):
        Folder(name="mine", folder=tmp_path / "mine").restore(pair, read_pictures(pair), 0)


def test_a_folder_is_asked_for_clean_photographs_only_where_it_has_some(pair, tmp_path, write):
    (clean,) = clean_pairs([pair], 1)
    folder = Folder(name="mine", folder=tmp_path / "mine")
    assert folder.answers(pair) and not folder.answers(clean)
    write(tmp_path / "mine/clean/denoise/a.png", 3)
    assert folder.answers(clean)
    assert folder.find(clean) == tmp_path / "mine/clean/denoise/a.png"


def test_a_folder_that_answers_nothing_is_refused_before_anything_runs(pair, tmp_path, write):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ControlsError, match=r"none of the 1 pictures.*empty/denoise/a\.png"):
        refuse_strangers([Folder(name="empty", folder=tmp_path / "empty")], [pair])
    write(tmp_path / "empty/a.png", 3)
    refuse_strangers([Folder(name="empty", folder=tmp_path / "empty")], [pair])


def test_words_become_tools(tmp_path):
    (tmp_path / "results").mkdir()
    command, folder, unnamed = read_others([f"x2={COPY}", f"mine={tmp_path / 'results'}", str(tmp_path / "results")], 9)
    assert command == Command(name="x2", source=COPY, timeout_s=9)
    assert folder == Folder(name="mine", folder=tmp_path / "results")
    assert unnamed.name == "results"
    assert read_other("/opt/bin/tool --size=2 {input} {output}").name == "tool"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no folder"),
        (["x=cp {input}"], "both {input} and {output}"),
        ([f"auto={COPY}"], "cannot name a tool"),
        ([f"a={COPY}", f"a={COPY} "], "a twice"),
        (["'cp {input} {output}"], "quot"),
        ([""], "NAME=FOLDER"),
    ],
)
def test_words_that_are_no_tool_are_refused_with_what_to_write(words, said):
    with pytest.raises(ControlsError) as refused:
        read_others(words)
    assert said in str(refused.value)
