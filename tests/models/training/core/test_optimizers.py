"""Muon and AdamW together: which parameters each one trains, orthogonal steps, and resuming."""

import pytest
import torch
from torch import nn

from models.networks.drunet import DRUNet, DRUNetConfig
from models.training.core.optimizers import MuonAdamW, is_kernel

PIXEL_LAYERS = DRUNet.PIXEL_LAYERS


def build(seed=0):
    torch.manual_seed(seed)
    return DRUNet(DRUNetConfig(width=8, blocks=(1, 1), patch=1)).to(memory_format=torch.channels_last)


def optimizer(network, **settings):
    options = {"muon": 0.1, "adamw": 1e-3, "weight_decay": 0.0, **settings}
    return MuonAdamW(list(network.named_parameters()), PIXEL_LAYERS, **options)


def learn(network, steps, own, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        image = torch.rand(2, 3, 16, 16, generator=generator)
        network.zero_grad(set_to_none=True)
        (network(image) - image.flip(-1)).square().mean().backward()
        own.step(1.0)


@torch.no_grad()
def error_of(network, image):
    return float((network(image) - image.flip(-1)).square().mean())


def test_muon_trains_kernels_but_not_those_that_face_pixels_or_are_not_matrices():
    network = build()
    kernels = {name for name, value in network.named_parameters() if is_kernel(name, value, PIXEL_LAYERS)}
    assert "head.weight" not in kernels and "tail.weight" not in kernels
    assert "encoders.0.0.conv1.weight" in kernels and "downs.0.weight" in kernels
    assert not is_kernel("bias", torch.zeros(8), ())
    assert not is_kernel("depthwise.weight", torch.zeros(8, 1, 3, 3), ())


def test_the_first_step_is_an_orthogonal_matrix():
    """Muon makes all singular values of the momentum about one (0.5 to 1.5 after five iterations)."""
    network = build()
    own = optimizer(network, muon=0.1)
    kernel = network.body[0].conv1.weight
    before = kernel.detach().clone()
    learn(network, 1, own)
    moved = (before - kernel.detach()).permute(0, 2, 3, 1).reshape(len(kernel), -1) / 0.1
    singular = torch.linalg.svdvals(moved)
    assert float(singular.min()) > 0.3 and float(singular.max()) < 1.6


def test_every_parameter_moves_and_the_loss_falls():
    network = build()
    own = optimizer(network, muon=0.02)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    image = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    error = error_of(network, image)
    learn(network, 30, own)
    assert all(not torch.equal(before[name], value) for name, value in network.named_parameters())
    assert error_of(network, image) < 0.8 * error


def test_without_muon_it_is_adamw():
    ours, theirs = build(), build()
    own = optimizer(ours, muon=None)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0)

    class Plain:
        def step(self, rate):
            reference.step()

    learn(ours, 5, own)
    learn(theirs, 5, Plain())
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_rate_of_zero_changes_nothing():
    network = build()
    before = [value.detach().clone() for value in network.parameters()]
    own = optimizer(network)
    (network(torch.rand(1, 3, 8, 8))).sum().backward()
    own.step(0.0)
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))


def test_a_resumed_optimizer_gives_the_weights_of_an_unbroken_run(tmp_path):
    unbroken = build()
    own = optimizer(unbroken)
    learn(unbroken, 3, own)
    torch.save({"network": unbroken.state_dict(), "optimizer": own.state_dict()}, tmp_path / "last.pt")
    learn(unbroken, 3, own, seed=5)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    resumed = build(seed=4)
    resumed.load_state_dict(saved["network"])
    again = optimizer(resumed)
    again.load_state_dict(saved["optimizer"])
    learn(resumed, 3, again, seed=5)
    for one, other in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_kernel_that_is_not_channels_last_is_refused():
    network = DRUNet(DRUNetConfig(width=8, blocks=(1, 1)))  # not channels-last, so the matrix would be a copy
    with pytest.raises(AssertionError, match="channels-last"):
        optimizer(network)


def test_a_network_without_kernels_is_trained_too():
    linear = nn.Linear(2, 2)
    own = MuonAdamW(list(linear.named_parameters()), (), muon=0.1, adamw=0.1, weight_decay=0.0)
    before = linear.weight.detach().clone()
    linear(torch.ones(1, 2)).sum().backward()
    own.step(1.0)
    assert not torch.equal(before, linear.weight)
