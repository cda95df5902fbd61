"""The replay buffer: earlier examples are added, augmented, and finally forgotten."""

import torch

from models.training.core.replay import ReplayBuffer, random_mirror
from models.training.data.share import Draws


def examples(*values: float) -> torch.Tensor:
    """(B, 3, 3, 4, 4): each filled with its value, plus a horizontal gradient that shows a mirror."""
    ramp = torch.linspace(0, 0.25, 4).expand(3, 3, 4, 4)
    return torch.stack([value + ramp for value in values])


def test_nothing_is_added_to_the_first_batch():
    fresh = examples(0.0, 1.0)
    assert torch.equal(ReplayBuffer(8, random_mirror).join(fresh, 3, Draws(torch.Generator())), fresh)


def test_the_three_pictures_of_an_earlier_example_are_mirrored_alike():
    replay, draws = ReplayBuffer(8, random_mirror), Draws(torch.Generator().manual_seed(0))
    replay.join(examples(0.0, 1.0), 3, draws)
    joined = replay.join(examples(2.0, 3.0), 3, draws)
    assert joined.shape == (8, 3, 3, 4, 4)
    assert torch.equal(joined[:2], examples(2.0, 3.0))
    for old in joined[2:]:
        assert torch.equal(old[0], old[1]) and torch.equal(old[1], old[2])  # mirrored alike
        possible = [value.flip(axes) for value in examples(0.0, 1.0) for axes in ([], [-1], [-2], [-1, -2])]
        assert any(torch.allclose(old, kept, atol=1e-3) for kept in possible)


def test_the_oldest_examples_are_forgotten():
    replay, draws = ReplayBuffer(4, random_mirror), Draws(torch.Generator().manual_seed(0))
    for value in range(10):
        replay.join(examples(float(value), float(value)), 0, draws)
    seen = {round(float(old.amin())) for old in replay.join(examples(0.0, 0.0), 40, draws)[2:]}
    assert seen == {8, 9}


def test_without_augmentation_examples_do_not_change():
    replay, draws = ReplayBuffer(8), Draws(torch.Generator().manual_seed(0))
    replay.join(examples(0.0, 1.0), 1, draws)
    for old in replay.join(examples(2.0), 6, draws)[1:]:
        assert any(torch.allclose(old, kept, atol=1e-3) for kept in examples(0.0, 1.0))


def test_stored_examples_have_no_gradient():
    replay, draws = ReplayBuffer(8), Draws(torch.Generator().manual_seed(0))
    replay.join(examples(0.0).requires_grad_(), 1, draws)
    assert not replay.join(examples(1.0), 3, draws).requires_grad
