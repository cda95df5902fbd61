"""Captions of photos: from folder names, or from a file."""

import pytest

from models.errors import TrainingError
from models.training.data.captions import captions_of, from_folder, read_captions
from models.training.data.photos import find_photos


def test_folder_names_are_captions(named_photos):
    assert from_folder(named_photos / "golden_retriever-02" / "a.png") == "a photo of golden retriever"
    assert from_folder(named_photos / "0042" / "a.png") == "a photo"


def test_a_caption_of_the_file_is_found_by_relative_path_or_name(named_photos, tmp_path):
    (tmp_path / "captions.tsv").write_text("filepath\ttitle\nred_car/c.png\ta car in the rain\na.png\ta wet dog\n")
    stated = read_captions(tmp_path / "captions.tsv")
    found = captions_of(find_photos([named_photos]), [named_photos], stated)
    assert found == ["a wet dog", "a photo of golden retriever", "a car in the rain"]


def test_a_line_without_a_caption_is_an_error_with_its_number(tmp_path):
    (tmp_path / "captions.tsv").write_text("a.png\ta dog\nb.png\t\n")
    with pytest.raises(TrainingError, match="line 2: got no caption"):
        read_captions(tmp_path / "captions.tsv")
