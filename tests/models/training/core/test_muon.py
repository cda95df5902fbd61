"""Muon in float32: the steps of torch.optim.Muon without its rounding to bfloat16, and orthogonal by mathematics."""

import pytest
import torch

from models.training.core.muon import Float32Muon, orthogonalized


def matrix(height, width, seed=0):
    return torch.randn(height, width, generator=torch.Generator().manual_seed(seed))


def rotated(height, width, seed=0):
    """A matrix with singular values of one, which rounding hardly turns."""
    u, _, v = torch.linalg.svd(matrix(height, width, seed), full_matrices=False)
    return u @ v


@pytest.mark.parametrize("shape", [(8, 8), (4, 30), (30, 4), (1, 5)])
def test_each_singular_value_follows_the_published_polynomial(shape):
    given = matrix(*shape).double()
    u, values, v = torch.linalg.svd(given, full_matrices=False)
    x = values / values.norm()
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    torch.testing.assert_close(orthogonalized(given), u @ torch.diag(x) @ v, atol=1e-8, rtol=0)
    assert float(x.max()) < 1.3


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_it_takes_the_steps_of_torch_s_muon(shape):
    """Within the rounding of bfloat16, eight bits, over three steps with a weight decay."""
    ours, theirs = (torch.nn.Parameter(matrix(*shape)) for _ in range(2))
    own = Float32Muon([ours], lr=0.1, weight_decay=0.3)
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.3)
    for step in range(3):
        gradient = (step + 1) * rotated(*shape)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        own.step()
        reference.step()
    difference = (ours - theirs).detach().abs().max()
    assert float(difference / (theirs.detach() - matrix(*shape)).abs().max()) < 0.02


def test_each_continues_the_state_of_the_other():
    ours, theirs = (torch.nn.Parameter(matrix(5, 7)) for _ in range(2))
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0)
    theirs.grad = rotated(5, 7)
    reference.step()
    ours.data.copy_(theirs.data)
    own = Float32Muon([ours], lr=0.1, weight_decay=0.0)
    own.load_state_dict(reference.state_dict())
    for parameter, optimizer in ((ours, own), (theirs, reference)):
        parameter.grad = 2 * rotated(5, 7)
        optimizer.step()
    assert float((ours - theirs).detach().abs().max()) < 0.002  # steps of 0.1


def test_a_matrix_of_zeros_stays_finite():
    assert orthogonalized(torch.zeros(3, 4)).isfinite().all()
