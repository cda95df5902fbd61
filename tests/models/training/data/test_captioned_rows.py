"""The data set on disk: its table, its pictures, and examples read from it."""

import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest

from models.errors import TrainingError
from models.training.data.captioned_examples import WORDS
from models.training.data.captioned_rows import StoredExamples, read_rows


@pytest.fixture(scope="module")
def written(named_photos, tmp_path_factory):
    """The data set that the command writes."""
    out = tmp_path_factory.mktemp("rows")
    command = [sys.executable, "-m", "models.training", "captioned-rows", str(named_photos), "--out", str(out)]
    command += ["--count", "20", "--crop", "64", "--cache", str(out / "cache")]
    done = subprocess.run(command, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return out


def test_the_table_has_the_format_of_the_published_training(written):
    """open_clip's csv reader: tab, `filepath`, `title`; DA-CLIP splits the title at ": " into caption and word."""
    with (written / "rows.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 20
    for index, row in enumerate(rows):
        caption, word = row["title"].split(": ")
        assert (caption, word) == (row["caption"], WORDS[index % 10])
        degraded, clean = (cv2.imread(str(written / row[column])) for column in ("filepath", "clean"))
        assert degraded.shape == clean.shape == (64, 64, 3)
        assert not np.array_equal(degraded, clean)


def test_rows_are_read_back_with_one_crop_for_both_pictures(written):
    rows = [row for row in read_rows(written / "rows.tsv") if row.degradation == "uncompleted"]
    examples = StoredExamples(rows, 32, seed=0)
    for index in range(4):
        example = examples[index]
        same = (example["degraded"] - example["target"]).abs().amax(dim=0) < 0.01
        white = example["degraded"].amin(dim=0) > 0.99
        assert bool((same | white).all())  # outside the holes the crops coincide
        assert WORDS[int(example["kind"])] == "uncompleted"


def test_another_table_is_refused(tmp_path):
    (tmp_path / "rows.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(TrainingError, match="is not a table of rows"):
        read_rows(tmp_path / "rows.tsv")
