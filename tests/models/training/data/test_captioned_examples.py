"""Captioned examples drawn on the fly."""

import cv2
import numpy as np
import pytest
import torch

from models.training.data.captioned_examples import (
    WORDS,
    DrawnExamples,
    joined_words,
    load_captioned_photos,
    split_photos,
)
from models.training.data.photos import CropConfig, find_photos


def examples_of(folder, tmp_path, **settings):
    found = load_captioned_photos(find_photos([folder]), [folder], {}, tmp_path / "cache", 1600)
    return DrawnExamples(found, CropConfig(crop_px=48), seed=3, **settings)


def decoded(tokens):
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer().decode([int(t) for t in tokens if 0 < int(t) < 49406]).strip()


@pytest.mark.slow
def test_the_kinds_take_turns_and_each_example_has_the_caption_of_its_photo(named_photos, tmp_path):
    examples = examples_of(named_photos, tmp_path)
    for index in range(12):
        example = examples[index]
        assert int(example["kind"]) == index % 10
        assert decoded(example["word"]).replace(" ", "") == WORDS[index % 10]
        assert decoded(example["caption"]) in ("a photo of golden retriever", "a photo of red car")
        assert example["degraded"].shape == example["target"].shape == (3, 48, 48)
        assert not torch.equal(example["degraded"], example["target"])


def test_an_example_depends_on_seed_and_index_alone(named_photos, tmp_path):
    first, again = examples_of(named_photos, tmp_path)[7], examples_of(named_photos, tmp_path)[7]
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_a_caption_stays_with_its_photo(tmp_path):
    """Two photos with one color each, captioned by it: every crop must match its caption."""
    for name, bgr in (("red", (0, 0, 200)), ("blue", (200, 0, 0))):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(0).integers(-40, 40, (96, 96, 3))
        cv2.imwrite(str(tmp_path / name / "x.png"), (np.clip(np.array(bgr) + noise, 0, 255)).astype(np.uint8))
    examples = examples_of(tmp_path, tmp_path)
    captions = set()
    for index in range(12):
        example = examples[index]
        redder = bool(example["target"][0].mean() > example["target"][2].mean())
        caption = decoded(example["caption"])
        assert caption == f"a photo of {'red' if redder else 'blue'}"
        captions.add(caption)
    assert len(captions) == 2


def test_the_word_of_a_wild_example_lists_all_operations(named_photos, tmp_path):
    assert joined_words(("blur", "noise", "blur", "jpeg block")) == "blur, noise, jpeg block"
    assert joined_words(()) == "clean"
    words = decoded(examples_of(named_photos, tmp_path, wild=True)[2]["word"])
    assert set(words.replace(" , ", ", ").split(", ")) <= {"blur", "ringing artifact", "noise", "jpeg block", "clean"}


def test_held_out_photos_are_never_trained_on():
    numbers = list(range(45))
    train, validate = split_photos(numbers, validation=False), split_photos(numbers, validation=True)
    assert validate == [0, 20, 40]
    assert sorted(train + validate) == numbers
