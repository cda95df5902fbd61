"""Degraded pairs on the fly: functions of seed and index, in range, the same after a restart and in other processes."""

import pytest
import torch

from models.training.data.dataset import DegradedPairs, batches
from models.training.data.degradations import Mixture
from models.training.data.photos import CropConfig, PhotoPool
from models.vocabulary import CLEAN

NAMES = ("low-light", CLEAN)
ALL_NAMES = (
    "noise", "blur", "rain", "low-light", "haze", "low-resolution", "raindrop", "jpeg", "snow", CLEAN,
)  # fmt: skip
DARK = Mixture(weights={"low-light": 1.0}, two_kinds=0.0)


def test_an_example_is_a_function_of_seed_and_index(files):
    pool = PhotoPool(files, validation=False)
    pairs, again, other = (
        DegradedPairs(pool, CropConfig(crop_px=32), Mixture(), ALL_NAMES, seed) for seed in (1, 1, 2)
    )
    assert all(torch.equal(pairs[7][key], again[7][key]) for key in pairs[7])
    assert not torch.equal(pairs[7]["clean"], pairs[8]["clean"])
    assert not torch.equal(pairs[7]["clean"], other[7]["clean"])


def test_labels_sum_to_one_and_pictures_are_in_range(files):
    pairs = DegradedPairs(
        PhotoPool(files, validation=False), CropConfig(crop_px=32), Mixture(two_kinds=0.5), ALL_NAMES, 0
    )
    for index in range(24):
        example = pairs[index]
        assert float(example["labels"].sum()) == pytest.approx(1)
        assert example["labels"][example["label"]] > 0
        for key in ("degraded", "target", "clean"):
            assert example[key].shape == (3, 32, 32)
            assert example[key].abs().max() <= 1


def test_a_later_start_continues_the_same_sequence(files):
    pairs = DegradedPairs(PhotoPool(files, validation=False), CropConfig(crop_px=32), DARK, NAMES, 0)
    whole = batches(pairs, start=0, batch=2, loaders=0, pin=False)
    next(whole)
    later = next(batches(pairs, start=2, batch=2, loaders=0, pin=False))
    assert torch.equal(next(whole)["degraded"], later["degraded"])


def test_other_processes_make_the_same_examples(files):
    pairs = DegradedPairs(PhotoPool(files, validation=False), CropConfig(crop_px=32), DARK, NAMES, 0)
    same_process, other_process = (
        next(batches(pairs, start=4, batch=2, loaders=loaders, pin=False)) for loaders in (0, 1)
    )
    assert torch.equal(same_process["degraded"], other_process["degraded"])


def test_distant_views_have_the_size_of_a_crop(files):
    crop = CropConfig(crop_px=24, distant=1.0, max_distance=3.0)
    pairs = DegradedPairs(PhotoPool(files, validation=False), crop, DARK, NAMES, 0)
    assert all(pairs[0][key].shape == (3, 24, 24) for key in ("degraded", "target", "clean"))


def test_turned_examples_are_the_others_turned_by_right_angles(files):
    """All pictures of an example turn together, after the damage, by each of the three angles."""
    pool = PhotoPool(files, validation=False)
    upright, sideways = (
        DegradedPairs(pool, CropConfig(crop_px=32, turned=share), Mixture(), ALL_NAMES, 3) for share in (0.0, 1.0)
    )
    angles = set()
    for index in range(24):
        one, other = upright[index], sideways[index]
        (angle,) = [k for k in range(4) if torch.equal(torch.rot90(one["degraded"], k, (1, 2)), other["degraded"])]
        angles.add(angle)
        for key in ("target", "clean"):
            assert torch.equal(torch.rot90(one[key], angle, (1, 2)), other[key])
        assert torch.equal(one["labels"], other["labels"])
    assert angles == {1, 2, 3}
