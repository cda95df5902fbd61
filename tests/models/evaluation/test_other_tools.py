"""Other tools: real commands and real folders with known results."""

import os
import shlex
import shutil
import sys

import numpy as np
import pytest

from models.errors import ControlsError, PhotoError
from models.evaluation.other_tools import (
    ToolCommand,
    ToolFolder,
    parse_other_tool,
    parse_other_tools,
    refuse_unrelated_folders,
)
from models.evaluation.pairs import clean_pairs, find_pairs, read_pictures

COPY = "cp {input} {output}"


@pytest.fixture
def pair(tmp_path, write):
    for name in ("a.png", "b.png"):
        write(tmp_path / "eval/denoise/lq" / name, 1)
        write(tmp_path / "eval/denoise/gt" / name, 2)
    return find_pairs(tmp_path / "eval")[0]


def python(*lines):
    """Returns a command that runs lines of Python; the arguments 1 and 2 are the input and output paths."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote('; '.join(('import sys', *lines)))} {{input}} {{output}}"


def test_a_command_gets_the_same_pixels_as_our_restorer(pair):
    pictures = read_pictures(pair, crop_px=16)
    picture, seconds = ToolCommand(name="copy", source=COPY).restore(pair, pictures, crop_px=16)
    np.testing.assert_array_equal(picture, pictures.degraded)
    assert seconds > 0


def test_a_command_gets_the_file_name_and_no_shell(pair):
    check = python("p = sys.argv[1]", "assert p.endswith('a.png') and '$HOME;' in sys.argv", "sys.exit('seen')")
    command = ToolCommand(name="look", source=f"{check} '$HOME;'")
    with pytest.raises(PhotoError, match="look failed with exit code 1: seen"):
        command.restore(pair, read_pictures(pair), 0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (python("print('out of memory', file=sys.stderr)", "sys.exit(7)"), "exit code 7: out of memory"),
        ("true {input} {output}", "wrote no {output}"),
        ("no-such-tool {input} {output}", "cannot be started: no-such-tool"),
        (python("from PIL import Image", "Image.new('RGB', (9, 8)).save(sys.argv[2])"), "9x8 px, expected 24x20 px"),
        (python("open(sys.argv[2], 'w').write('<html>')"), "a.png"),
    ],
)
def test_a_failing_command_raises_an_error_with_the_cause(pair, source, message):
    with pytest.raises(PhotoError) as failed:
        ToolCommand(name="tool", source=source).restore(pair, read_pictures(pair), 0)
    assert message in str(failed.value)


def test_a_command_that_hangs_is_stopped_with_its_child_processes(pair, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    hangs = f"sh -c 'sleep 600 > {pipe} & sleep 600' {{input}} {{output}}"
    with pytest.raises(PhotoError, match=r"longer than 0\.8 s"):
        ToolCommand(name="slow", source=hangs, timeout_s=0.8).restore(pair, read_pictures(pair), 0)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # the end of the file: no child process holds the pipe open
    os.close(reader)


def test_a_folder_is_searched_by_task_and_name_then_by_name_with_any_extension(pair, tmp_path, write):
    folder = ToolFolder(name="mine", folder=tmp_path / "mine")
    with pytest.raises(PhotoError, match=r"no photo for denoise/a\.png.*mine/denoise/a\.png or .*mine/a\.png"):
        folder.restore(pair, read_pictures(pair), 0)
    flat = write(tmp_path / "mine/a.tiff", 3)
    np.testing.assert_array_equal(folder.restore(pair, read_pictures(pair), 0)[0], flat)
    own = write(tmp_path / "mine/denoise/a.png", 4)
    picture, seconds = folder.restore(pair, read_pictures(pair), 0)
    np.testing.assert_array_equal(picture, own)
    assert seconds is None


def test_photos_from_a_folder_are_cropped_like_the_ground_truth(pair, tmp_path):
    (tmp_path / "mine").mkdir()
    shutil.copy(pair.truth, tmp_path / "mine/a.png")
    pictures = read_pictures(pair, crop_px=16)
    picture, _ = ToolFolder(name="mine", folder=tmp_path / "mine").restore(pair, pictures, 16)
    np.testing.assert_array_equal(picture, pictures.truth)


def test_a_photo_of_another_size_is_refused_with_both_sizes(pair, tmp_path, write):
    write(tmp_path / "mine/a.png", 3, width=20)
    with pytest.raises(PhotoError, match=r"mine/a\.png is 20x20 px, expected 24x20 px"):
        ToolFolder(name="mine", folder=tmp_path / "mine").restore(pair, read_pictures(pair), 0)


def test_a_folder_covers_clean_photos_only_if_it_contains_some(pair, tmp_path, write):
    (clean,) = clean_pairs([pair], 1)
    folder = ToolFolder(name="mine", folder=tmp_path / "mine")
    assert folder.covers(pair) and not folder.covers(clean)
    write(tmp_path / "mine/clean/denoise/a.png", 3)
    assert folder.covers(clean)
    assert folder.find(clean) == tmp_path / "mine/clean/denoise/a.png"


def test_a_folder_without_any_result_is_refused(pair, tmp_path, write):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ControlsError, match=r"none of the 1 requested photos.*empty/denoise/a\.png"):
        refuse_unrelated_folders([ToolFolder(name="empty", folder=tmp_path / "empty")], [pair])
    write(tmp_path / "empty/a.png", 3)
    refuse_unrelated_folders([ToolFolder(name="empty", folder=tmp_path / "empty")], [pair])


def test_texts_are_parsed_to_tools(tmp_path):
    (tmp_path / "results").mkdir()
    command, folder, unnamed = parse_other_tools(
        [f"x2={COPY}", f"mine={tmp_path / 'results'}", str(tmp_path / "results")], 9
    )
    assert command == ToolCommand(name="x2", source=COPY, timeout_s=9)
    assert folder == ToolFolder(name="mine", folder=tmp_path / "results")
    assert unnamed.name == "results"
    assert parse_other_tool("/opt/bin/tool --size=2 {input} {output}").name == "tool"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["nowhere"], "neither a folder"),
        (["x=cp {input}"], "a command with {input} and {output}"),
        ([f"auto={COPY}"], "not a valid tool name"),
        ([f"a={COPY}", f"a={COPY} "], "name a twice"),
        (["'cp {input} {output}"], "quot"),
        ([""], "NAME=FOLDER"),
    ],
)
def test_invalid_tools_are_refused_with_the_expected_form(texts, message):
    with pytest.raises(ControlsError) as refused:
        parse_other_tools(texts)
    assert message in str(refused.value)
