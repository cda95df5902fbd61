"""Pictures with captions: where captions come from, the rows on disk, and examples drawn on the fly."""

import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from models.errors import TrainingError
from models.training.data.captioned_examples import WORDS, DrawnExamples, StoredExamples, captioned, held_out, read_rows, together
from models.training.data.captions import captions_of, from_folder, read_captions
from models.training.data.photos import CropConfig, find_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two folders of small pictures of blobs."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("golden_retriever-02/a.png", "golden_retriever-02/b.png", "red_car/c.png"):
        (root / name).parent.mkdir(exist_ok=True)
        blobs = cv2.resize(rng.random((12, 16, 3)), (200, 160), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / name), (255 * np.clip(blobs, 0, 1)).astype(np.uint8))
    return root


def drawings(photos, tmp_path, **said):
    found = captioned(find_photos([photos]), [photos], {}, tmp_path / "cache", 1600)
    return DrawnExamples(found, CropConfig(crop_px=48), seed=3, **said)


def decoded(tokens):
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer().decode([int(t) for t in tokens if 0 < int(t) < 49406]).strip()


def test_folder_names_are_captions(photos):
    assert from_folder(photos / "golden_retriever-02" / "a.png") == "a photo of golden retriever"
    assert from_folder(photos / "0042" / "a.png") == "a photo"


def test_stated_captions_win_over_folders_by_relative_path_or_name(photos, tmp_path):
    (tmp_path / "captions.tsv").write_text("filepath\ttitle\nred_car/c.png\ta car in the rain\na.png\ta wet dog\n")
    stated = read_captions(tmp_path / "captions.tsv")
    found = captions_of(find_photos([photos]), [photos], stated)
    assert found == ["a wet dog", "a photo of golden retriever", "a car in the rain"]


def test_a_line_without_a_caption_is_named(tmp_path):
    (tmp_path / "captions.tsv").write_text("a.png\ta dog\nb.png\t\n")
    with pytest.raises(TrainingError, match="line 2: got no caption"):
        read_captions(tmp_path / "captions.tsv")


def test_examples_take_the_kinds_in_turn_with_their_own_photos_caption(photos, tmp_path):
    examples = drawings(photos, tmp_path)
    for index in range(12):
        example = examples[index]
        assert int(example["kind"]) == index % 10
        assert decoded(example["word"]).replace(" ", "") == WORDS[index % 10]
        assert decoded(example["caption"]) in ("a photo of golden retriever", "a photo of red car")
        assert example["degraded"].shape == example["target"].shape == (3, 48, 48)
        assert not torch.equal(example["degraded"], example["target"])


def test_an_example_depends_on_seed_and_index_alone(photos, tmp_path):
    first, again = drawings(photos, tmp_path)[7], drawings(photos, tmp_path)[7]
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_a_caption_stays_with_its_photo(tmp_path):
    """Two photos of one flat color each, captioned by it: every crop must show what its caption says."""
    for name, bgr in (("red", (0, 0, 200)), ("blue", (200, 0, 0))):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(0).integers(-40, 40, (96, 96, 3))
        cv2.imwrite(str(tmp_path / name / "x.png"), (np.clip(np.array(bgr) + noise, 0, 255)).astype(np.uint8))
    examples = drawings(tmp_path, tmp_path)
    seen = set()
    for index in range(12):
        example = examples[index]
        redder = bool(example["target"][0].mean() > example["target"][2].mean())
        caption = decoded(example["caption"])
        assert caption == f"a photo of {'red' if redder else 'blue'}"
        seen.add(caption)
    assert len(seen) == 2


def test_wild_examples_say_what_was_done_together(photos, tmp_path):
    assert together(("blur", "noise", "blur", "jpeg block")) == "blur, noise, jpeg block"
    assert together(()) == "clean"
    words = decoded(drawings(photos, tmp_path, wild=True)[2]["word"])
    assert set(words.replace(" , ", ", ").split(", ")) <= {"blur", "ringing artifact", "noise", "jpeg block", "clean"}


def test_held_out_photos_are_never_trained_on():
    numbers = list(range(45))
    train, validate = held_out(numbers, validation=False), held_out(numbers, validation=True)
    assert validate == [0, 20, 40]
    assert sorted(train + validate) == numbers


@pytest.fixture(scope="module")
def written(photos, tmp_path_factory):
    """The command's data set."""
    out = tmp_path_factory.mktemp("rows")
    command = [
        sys.executable,
        "-m",
        "models.training.data.captioned_rows",
        str(photos),
        "--out",
        str(out),
        "--count",
        "20",
    ]
    done = subprocess.run([*command, "--crop", "64", "--cache", str(out / "cache")], capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return out


def test_the_table_is_what_the_published_training_reads(written):
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
    with pytest.raises(TrainingError, match="no table of rows"):
        read_rows(tmp_path / "rows.tsv")
