import torch

from models.training.core.replay import ReplayBuffer, mirrored


def examples(*values: float) -> torch.Tensor:
    """(B, 3, 3, 4, 4): each filled with its value, a gradient across its width so that a mirror shows."""
    ramp = torch.linspace(0, 0.25, 4).expand(3, 3, 4, 4)
    return torch.stack([value + ramp for value in values])


def test_the_first_batch_has_no_past():
    fresh = examples(0.0, 1.0)
    assert torch.equal(ReplayBuffer(8, mirrored).join(fresh, 3, torch.Generator()), fresh)


def test_earlier_examples_join_mirrored_with_their_three_pictures_together():
    replay, generator = ReplayBuffer(8, mirrored), torch.Generator().manual_seed(0)
    replay.join(examples(0.0, 1.0), 3, generator)
    joined = replay.join(examples(2.0, 3.0), 3, generator)
    assert joined.shape == (8, 3, 3, 4, 4)
    assert torch.equal(joined[:2], examples(2.0, 3.0))
    for old in joined[2:]:
        assert torch.equal(old[0], old[1]) and torch.equal(old[1], old[2])  # mirrored alike
        possible = [value.flip(axes) for value in examples(0.0, 1.0) for axes in ([], [-1], [-2], [-1, -2])]
        assert any(torch.allclose(old, kept, atol=1e-3) for kept in possible)


def test_the_oldest_are_forgotten():
    replay, generator = ReplayBuffer(4, mirrored), torch.Generator().manual_seed(0)
    for value in range(10):
        replay.join(examples(float(value), float(value)), 0, generator)
    seen = {round(float(old.amin())) for old in replay.join(examples(0.0, 0.0), 40, generator)[2:]}
    assert seen == {8, 9}


def test_without_a_variation_examples_come_back_as_they_were():
    replay, generator = ReplayBuffer(8), torch.Generator().manual_seed(0)
    replay.join(examples(0.0, 1.0), 1, generator)
    for old in replay.join(examples(2.0), 6, generator)[1:]:
        assert any(torch.allclose(old, kept, atol=1e-3) for kept in examples(0.0, 1.0))


def test_what_is_kept_holds_no_graph():
    replay, generator = ReplayBuffer(8), torch.Generator().manual_seed(0)
    replay.join(examples(0.0).requires_grad_(), 1, generator)
    assert not replay.join(examples(1.0), 3, generator).requires_grad
