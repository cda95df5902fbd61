"""The structural-correction module against the numbers of the published network, and its properties."""

import pytest
import torch
from parity_check import assert_parity
from safetensors.torch import load_file

from models.networks.nafnet import NAFNet, NAFNetConfig, simple_gate

TINY = NAFNetConfig(width=8)
FOLDED = NAFNetConfig(width=8, encoder_blocks=(1, 1), middle_blocks=1, decoder_blocks=(1, 1), patch=2)


def lively(config, seed=0):
    """A network with nonzero beta and gamma, so that every weight counts."""
    torch.manual_seed(seed)
    network = NAFNet(config).eval()
    for name, parameter in network.named_parameters():
        if name.endswith((".beta", ".gamma")):
            torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.fixture(scope="module")
def published(checkpoint):
    network = NAFNet(TINY).eval()
    network.load_state_dict(checkpoint("NAFNet."), strict=True)
    return network


@pytest.mark.parametrize("name", ["a", "odd"])
def test_the_published_module_is_reproduced(published, parity, name):
    vectors = load_file(parity / "scm.safetensors")
    with torch.inference_mode():
        result = published(vectors[f"{name}.degraded"], vectors[f"{name}.air"])
    # Values reach 19, and the reference itself is 1.3e-5 away from the same network in float64: float32 ends there
    assert_parity(result, vectors[f"{name}.result"])


def test_float32_and_the_reference_are_both_close_to_exact_arithmetic(published, parity):
    vectors = load_file(parity / "scm.safetensors")
    exact_network = NAFNet(TINY).double().eval()
    exact_network.load_state_dict(published.state_dict())
    inputs = vectors["odd.degraded"], vectors["odd.air"]
    with torch.inference_mode():
        exact = exact_network(*(image.double() for image in inputs))
        assert_parity(published(*inputs), exact)
    assert_parity(vectors["odd.result"], exact)


@pytest.mark.parametrize("config", [TINY, FOLDED])
@pytest.mark.parametrize("size", [(16, 16), (50, 71), (1, 1), (3, 40)])
def test_a_result_has_the_size_of_its_input(config, size):
    degraded, diffused = torch.rand(2, 1, 3, *size) * 2 - 1
    with torch.inference_mode():
        restored = lively(config)(degraded, diffused)
    assert restored.shape == degraded.shape
    assert restored.isfinite().all()


@pytest.mark.parametrize("config", [TINY, FOLDED])
def test_a_fidelity_of_zero_returns_the_diffusion_picture_exactly(config):
    degraded, diffused = torch.rand(2, 2, 3, 20, 30)
    with torch.inference_mode():
        assert torch.equal(lively(config)(degraded, diffused, 0.0), diffused)


def test_fidelity_scales_the_correction_and_may_differ_for_each_image():
    network, (degraded, diffused) = lively(TINY), torch.rand(2, 2, 3, 16, 16)
    with torch.inference_mode():
        whole = network(degraded, diffused) - diffused
        part = network(degraded, diffused, torch.tensor([0.1, 0.5]).view(2, 1, 1, 1)) - diffused
    assert_parity(part[0], 0.1 * whole[0])
    assert_parity(part[1], 0.5 * whole[1])


def test_the_order_of_the_two_pictures_matters():
    network, (degraded, diffused) = lively(TINY), torch.rand(2, 1, 3, 16, 16)
    with torch.inference_mode():
        forwards, backwards = network.correction(degraded, diffused), network.correction(diffused, degraded)
    assert not torch.allclose(forwards, backwards, atol=1e-3)


def test_the_result_of_an_image_does_not_depend_on_its_batch():
    network, (degraded, diffused) = lively(FOLDED), torch.rand(2, 3, 3, 33, 18)
    with torch.inference_mode():
        together = network(degraded, diffused)
        alone = torch.cat([network(a[None], b[None]) for a, b in zip(degraded, diffused, strict=True)])
    assert_parity(together, alone)


def test_a_fresh_block_is_the_identity():
    """beta and gamma start at zero (arXiv:2204.04676), so a new network starts as the identity."""
    block, x = NAFNet(TINY).middle_blks[0], torch.rand(1, 128, 4, 4)
    assert torch.equal(block(x), x)


def test_simple_gate_multiplies_the_halves():
    x = torch.arange(8.0).view(1, 4, 1, 2)
    assert simple_gate(x).flatten().tolist() == [0 * 4, 1 * 5, 2 * 6, 3 * 7]


def test_the_full_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = NAFNet(NAFNetConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == 115_984_643
