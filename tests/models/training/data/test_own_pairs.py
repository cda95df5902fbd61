"""Own pairs: found by the layout of `evaluate`, checked, held out by name, and cut alike."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from models.errors import TrainingError
from models.training.data.own_pairs import MixedExamples, PairExamples, find_own_pairs, load_own_pairs


def picture(seed, width=160, height=120):
    """A photo-like picture: soft blobs with an edge."""
    rng = np.random.default_rng(seed)
    soft = cv2.resize(rng.random((12, 16, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    soft[height // 3 : height // 2, width // 4 : width // 2] = rng.random(3)
    return (255 * np.clip(soft, 0, 1)).astype(np.uint8)


def darker(pixels):
    return (pixels * 0.4).astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Ten pairs of a task `dim`."""
    for index in range(10):
        save(tmp_path / "own" / "dim" / "lq" / f"{index}.png", darker(picture(index)))
        save(tmp_path / "own" / "dim" / "gt" / f"{index}.png", picture(index))
    return tmp_path / "own"


def test_a_fifth_is_held_out_and_stays_so_when_others_join(folder, tmp_path):
    first = load_own_pairs(folder, tmp_path / "cache")
    assert (len(first.train), len(first.held_out)) == (8, 2)
    for index in range(10, 15):
        save(folder / "dim" / "lq" / f"{index}.png", darker(picture(index)))
        save(folder / "dim" / "gt" / f"{index}.png", picture(index))
    second = load_own_pairs(folder, tmp_path / "cache")
    moved = {pair.title for pair in first.train} & {pair.title for pair in second.held_out}
    assert len(second.held_out) == 3
    assert len(moved) <= 1  # one more is held out; none that was held out is trained on without need
    assert first.names == ("low-light",)  # "dim" is another word for it


def test_the_folder_may_be_the_task_itself_and_the_name_be_given(folder, tmp_path):
    pairs = load_own_pairs(folder / "dim", tmp_path / "cache", name="Faded_Slides")
    assert pairs.names == ("faded-slides",)


def test_both_pictures_of_a_crop_are_cut_alike(folder, tmp_path):
    pairs = load_own_pairs(folder, tmp_path / "cache").train
    for index in range(8):
        example = PairExamples(pairs, 64, ("low-light", "clean"), seed=1)[index]
        truth = (example["target"] + 1) / 2
        assert example["degraded"].shape == (3, 64, 64)
        assert ((example["degraded"] + 1) / 2 - 0.4 * truth).abs().max() < 2 / 255


def test_a_picture_smaller_than_the_crop_is_reflected(folder, tmp_path):
    pair = load_own_pairs(folder, tmp_path / "cache").train[0]
    example = PairExamples([pair], 256, ("low-light",), seed=0)[3]
    rows = example["target"]  # (3, 256, 256) of a photo with 120 rows, mirrored at row 119
    assert (rows[:, 120:239] == rows[:, :119].flip(1)).all()


def test_the_same_index_gives_the_same_example_and_shares_are_kept(folder, tmp_path):
    pairs = load_own_pairs(folder, tmp_path / "cache").train
    one, other = (PairExamples(pairs, 32, ("low-light", "clean"), seed=seed) for seed in (0, 1))
    assert (one[5]["degraded"] == PairExamples(pairs, 32, ("low-light", "clean"), seed=0)[5]["degraded"]).all()
    mixed = MixedExamples(one, other, share=0.25, seed=3)
    own = sum(bool((mixed[index]["degraded"] == one[index]["degraded"]).all()) for index in range(400))
    assert 70 < own < 130


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lq, gt: shutil.rmtree(gt.parent), "no counterpart"),
        (lambda lq, gt: gt.unlink(), "no counterpart"),
        (lambda lq, gt: save(gt, picture(3, width=100)), "expected the same size"),
        (lambda lq, gt: lq.write_bytes(b"no photo"), "3.png"),
        (lambda lq, gt: save(lq, np.roll(darker(picture(3)), (7, 12), (0, 1))), "12 px to the right and 7 px down"),
        (lambda lq, gt: save(lq, picture(77)), "do not show the same picture"),
        (lambda lq, gt: (save(lq, picture(1, 12, 12)), save(gt, picture(1, 12, 12))), "smaller than 16 px"),
    ],
    ids=["no gt folder", "no gt", "size", "damaged", "shifted", "another picture", "tiny"],
)
def test_a_pair_that_does_not_match_is_refused_by_name(folder, tmp_path, spoil, message):
    spoil(folder / "dim" / "lq" / "3.png", folder / "dim" / "gt" / "3.png")
    with pytest.raises(TrainingError) as caught:
        load_own_pairs(folder, tmp_path / "cache")
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def test_the_check_can_be_left_out(folder, tmp_path):
    save(folder / "dim" / "lq" / "3.png", picture(77))
    assert len(load_own_pairs(folder, tmp_path / "cache", check=False).train) == 8


@pytest.mark.parametrize("content", [(), ("dim",), ("dim/lq",)], ids=["empty", "no lq", "no photo"])
def test_a_folder_without_pairs_says_how_they_must_lie(tmp_path, content):
    for name in content:
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(TrainingError, match="DIR/TASK/lq"):
        find_own_pairs(tmp_path)


@pytest.mark.parametrize("damage", ["noise", "dark", "blur", "haze"])
def test_strong_damage_is_no_shift(tmp_path, damage):
    rng = np.random.default_rng(0)
    for index in range(3):
        clean = picture(index, 320, 240)
        damaged = {
            "noise": np.clip(clean + rng.normal(0, 50, clean.shape), 0, 255),
            "dark": clean * 0.08,
            "blur": cv2.GaussianBlur(clean, (0, 0), 5),
            "haze": clean * 0.3 + 170,
        }[damage]
        save(tmp_path / "t" / "lq" / f"{index}.png", damaged.astype(np.uint8))
        save(tmp_path / "t" / "gt" / f"{index}.png", clean)
    assert load_own_pairs(tmp_path, tmp_path / "cache", name="test").train
