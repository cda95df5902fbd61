"""MAXIM's two axes: which pixels mix, by the paper's definition, and that the fast ways compute the same."""

import pytest
import torch
from parity_check import assert_parity
from torch import nn

from models.maxim.mixing import (
    GatedMLP,
    MultiAxisMLP,
    PositionMixing,
    TwoAxes,
    gelu,
    grouped,
    halves,
    linear_of_parts,
)

SIDE = 4


def features(height=12, width=20, channels=6, images=2):
    return torch.randn(images, height, width, channels, generator=torch.Generator().manual_seed(1))


def pixel_numbers(height, width):
    return torch.arange(height * width).view(1, height, width, 1)


def groups_of(height, width, axis):
    """The set of pixels (row, column) of each group."""
    numbers = grouped(pixel_numbers(height, width), SIDE, axis).reshape(-1, SIDE**2)
    return {frozenset(divmod(int(number), width) for number in group) for group in numbers}


def test_a_block_is_a_square_of_neighboring_pixels():
    expected = {
        frozenset((top + i, left + j) for i in range(SIDE) for j in range(SIDE)) for top in (0, 4, 8) for left in (0, 4)
    }
    assert groups_of(12, 8, "block") == expected


def test_a_group_of_the_grid_is_one_place_of_every_cell():
    """The grid has SIDE x SIDE cells, here of 3 x 2 pixels; its groups span the whole picture."""
    expected = {
        frozenset((i * 3 + row, j * 2 + column) for i in range(SIDE) for j in range(SIDE))
        for row in range(3) for column in range(2)
    }  # fmt: skip
    assert groups_of(12, 8, "grid") == expected


@torch.inference_mode()
def test_gelu_is_the_published_approximation_for_any_value():
    """The oracle is torch's own, in double precision; 70,000 values are more than are computed at a time."""
    values = torch.cat([torch.linspace(-12, 12, 70_001), torch.tensor([-1e30, -200.0, 0.0, 200.0, 1e30])])
    expected = torch.nn.functional.gelu(values.double(), approximate="tanh")
    assert_parity(gelu(values[:-2].clone()), expected[:-2].float())
    assert torch.equal(gelu(values.clone())[-5:], values[-5:].clamp(min=0))


def test_gelu_passes_gradients_on():
    x = torch.linspace(-3, 3, 7, requires_grad=True)
    torch.autograd.gradcheck(gelu, (x.double().detach().requires_grad_(),))
    gelu(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_mixing_is_one_matrix_over_positions_for_every_group_and_channel():
    mixing, x = PositionMixing(SIDE), features().view(30, SIDE**2, -1)
    expected = torch.einsum("gnc,mn->gmc", x, mixing.weight) + mixing.bias[:, None]
    assert_parity(mixing(x), expected)


def test_a_gate_that_mixes_nothing_leaves_an_ordinary_mlp():
    """The paper's gate is u (mix(v) + 1): with no mixing, u alone goes on."""
    gated, x = GatedMLP(6, SIDE), features().view(30, SIDE**2, -1)
    nn.init.zeros_(gated.mixing.weight)
    nn.init.zeros_(gated.mixing.bias)
    expected = x + gated.project(gelu(gated.expand(gated.norm(x))).chunk(2, -1)[0])
    assert_parity(gated(x), expected)


@pytest.mark.parametrize("positions", [1, 100, 10**9])
@pytest.mark.parametrize("size", [(12, 20), (4, 4), (8, 12)])
def test_chunks_do_not_change_the_result(positions, size, monkeypatch):
    network, x = MultiAxisMLP(6, SIDE), features(*size)
    whole = network(x)
    monkeypatch.setattr("models.maxim.mixing.CHUNK_POSITIONS", positions)
    assert_parity(network(x), whole)


def test_two_axes_are_halves_of_the_channels_side_by_side():
    """Against the plain way: project to twice the channels, split, mix each half in its own groups, join, project."""
    network, x = TwoAxes(6, SIDE, lambda: PositionMixing(SIDE)), features()
    both = gelu(network.expand(network.norm(x)))
    mixed = []
    for half, axis, mixing in zip(both.chunk(2, -1), ("grid", "block"), (network.grid, network.block), strict=True):
        out = torch.zeros_like(half)
        view = grouped(out, SIDE, axis)
        source = grouped(half.contiguous(), SIDE, axis)
        view.copy_(mixing(source.reshape(-1, SIDE**2, 6)).view(source.shape))
        mixed.append(out)
    assert_parity(network(x), network.project(torch.cat(mixed, -1)))


def test_a_layer_on_parts_is_the_layer_on_their_concatenation():
    layer, parts = nn.Linear(11, 5), [features(channels=channels) for channels in (6, 2, 3)]
    assert_parity(linear_of_parts(layer, iter(parts)), layer(torch.cat(parts, -1)))


def test_parts_that_are_too_few_are_a_bug():
    with pytest.raises(AssertionError, match="expected 11"):
        linear_of_parts(nn.Linear(11, 5), [features(channels=6)])


def test_halves_are_those_of_the_activated_layer():
    layer, x = nn.Linear(6, 10), features()
    for found, expected in zip(halves(layer, x), gelu(layer(x)).chunk(2, -1), strict=True):
        assert_parity(found, expected)
