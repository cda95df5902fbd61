"""What a repair may move: measured as arithmetic says, bounded as true repairs need it."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from scenes import scene

from models.safety.bounds import SLACK, bounds_of, exceeded, exceeds
from models.safety.movement import Movement, movement
from models.training.data.degradations import SYNTHESIZERS

STILL = Movement(darker=0, brighter=0, blackened=0, whitened=0, grayer=0, flatter=0)
LABELS = ("noise", "blur", "rain", "snow", "raindrop", "haze", "low-light", "low-resolution", "jpeg")


def levels(value):
    return torch.full((3, 64, 64), value / 127.5 - 1)


@pytest.mark.parametrize(("before", "after", "name", "value"), [
    (200, 150, "darker", 50), (100, 130, "brighter", 30), (90, 10, "blackened", 1), (100, 250, "whitened", 1),
])  # fmt: skip
def test_flat_pictures_move_as_far_as_their_levels(before, after, name, value):
    assert asdict(movement(levels(before), levels(after)))[name] == pytest.approx(value, abs=0.01)


def test_an_image_does_not_move_from_itself():
    assert all(value == pytest.approx(0, abs=1e-4) for value in asdict(movement(scene(), scene())).values())


def test_details_do_not_count():
    noise = torch.randn(3, 128, 128, generator=torch.Generator().manual_seed(1)) * 0.1
    moved = movement(scene() * 0.5 + noise, scene() * 0.5)
    assert moved.darker < 6 and moved.brighter < 6 and abs(moved.flatter) < 0.05


def test_gray_and_flat_results_are_seen():
    image = scene()
    gray = image.mean(0, keepdim=True).expand(3, -1, -1)
    assert movement(image, gray).grayer == pytest.approx(1, abs=0.01)
    assert movement(image, image * 0.5).flatter == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("label", LABELS)
def test_each_repair_has_bounds_that_name_movements(label):
    assert set(bounds_of(label)) <= set(SLACK) and len(bounds_of(label)) >= 5
    assert not exceeded(label, STILL)


def test_other_repairs_are_free():
    assert not bounds_of("shadow") and not exceeds("faded", levels(200), levels(0))


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_true_repair_stays_inside(label, seed):
    truth = ((scene(seed) + 1) / 2).permute(1, 2, 0).numpy()
    damaged = SYNTHESIZERS[label](np.ascontiguousarray(truth), np.random.default_rng(seed))
    damaged = torch.from_numpy(np.ascontiguousarray(damaged)).permute(2, 0, 1) * 2 - 1
    assert not exceeds(label, damaged, scene(seed))


@pytest.mark.parametrize("label", ["noise", "jpeg", "low-resolution", "snow", "haze"])
def test_a_repair_that_blackens_a_bright_part_is_taken_back(label):
    """A gray sea under a sky turns black, as after a wrong call of haze."""
    before = scene(3)
    before[:, 64:] = before[:, 64:] * 0.2 - 0.2
    after = before.clone()
    after[:, 64:] = -0.97
    assert exceeds(label, before, after)


@pytest.mark.parametrize("label", ["noise", "jpeg", "low-resolution", "rain", "snow"])
def test_a_repair_that_brightens_everything_is_taken_back(label):
    assert exceeds(label, scene() * 0.5 - 0.4, scene() * 0.5 + 0.3)
