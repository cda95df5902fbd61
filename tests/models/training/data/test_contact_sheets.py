"""Contact sheets: their layout, and the commands that write them."""

import cv2
import numpy as np
import pytest
from rich.console import Console

from models.errors import PhotoError
from models.training.__main__ import COMMANDS, parser
from models.training.data.contact_sheets import degradation_sheet
from models.training.data.degradations import SYNTHESIZERS


def run(*words):
    arguments = parser().parse_args([str(word) for word in words])
    return COMMANDS[arguments.command].run(arguments, Console(quiet=True))


def ramp(height, width):
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([columns / (width - 1), rows / (height - 1), (columns > 30).astype(np.float32)], axis=-1)


def test_the_sheet_has_a_row_for_each_kind_and_one_for_clean():
    sheet = degradation_sheet([ramp(90, 70), ramp(64, 120)], seed=0, columns=2, tile_px=48)
    assert sheet.shape == (48 * (len(SYNTHESIZERS) + 1), 96, 3)
    assert sheet.min() >= 0 and sheet.max() <= 1


def test_the_command_writes_a_sheet_of_the_kinds(tmp_path, photos):
    assert run("show-degradations", photos, "--out", tmp_path / "sheet.png", "--columns", 2, "--tile-px", 48) == 0
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (48 * (len(SYNTHESIZERS) + 1), 96, 3)


def test_the_command_writes_a_sheet_of_the_wild_pipeline(tmp_path):
    picture = ramp(48, 64)
    cv2.imwrite(str(tmp_path / "photo.png"), (picture * 255).astype(np.uint8))
    words = ("show-wild", tmp_path / "photo.png", "--columns", 2, "--tile-px", 48, "--out", tmp_path / "sheet.png")
    assert run(*words) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (48 + 16, 3 * 48, 3)
    np.testing.assert_array_less(np.abs(sheet[:48, :48].astype(int) - picture[:, 8:56] * 255), 2)


def test_a_file_that_is_not_a_photo_is_refused(tmp_path):
    with pytest.raises(PhotoError, match="cannot be decoded"):
        run("show-wild", tmp_path / "no.png", "--out", tmp_path / "sheet.png")
