"""The one-step network starts as the correction module: equal results where the networks have the same parts."""

import pytest
import torch
from parity_check import assert_parity

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.errors import TrainingError
from models.networks.nafnet import NAFNet
from models.training.daclip.nafnet_start import as_correction, start_from_correction

CONFIG = NAFNetConfig(
    width=32, encoder_blocks=(1, 2), middle_blocks=1, decoder_blocks=(1, 1), context_dim=16, patch=2
)  # fmt: skip
GENERATOR = torch.Generator().manual_seed(0)


def correction_module():
    """Random weights, with gains that are not zero."""
    torch.manual_seed(3)
    network = NAFNet(as_correction(CONFIG)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def started(correction):
    torch.manual_seed(4)
    network = ConditionalNAFNet(CONFIG).eval()
    start_from_correction(network, correction, "there")
    return network


def without_middle(network):
    """Disables the middle blocks, where one network has attention and the other channel attention."""
    for block in network.middle_blks.children():
        torch.nn.init.zeros_(block.beta)
    return network


@torch.no_grad()
def test_without_middle_blocks_it_equals_the_correction_module_with_the_picture_twice():
    correction = correction_module()
    network = without_middle(started(correction))
    picture = torch.rand(2, 3, 24, 20, generator=GENERATOR)
    embeddings = torch.randn(2, 2, 16, generator=GENERATOR)
    restored = network(picture, network.prepare(*embeddings))
    expected = picture + without_middle(correction).correction(picture, picture)
    assert float((restored - picture).abs().max()) > 0.1, "it changes the picture"
    # The two norms differ in their eps (1e-5 and 1e-6)
    assert_parity(restored, expected, of_range=2e-3)


@torch.no_grad()
def test_words_have_no_effect_at_first_and_every_modulation_has_a_gradient():
    network = started(correction_module())
    picture = torch.rand(1, 3, 16, 16, generator=GENERATOR)
    content = torch.randn(1, 16, generator=GENERATOR)
    answers = [network(picture, network.prepare(content, torch.randn(1, 16, generator=GENERATOR))) for _ in range(2)]
    assert torch.equal(*answers)
    with torch.enable_grad():
        network(picture, network.prepare(content, torch.randn(1, 16, generator=GENERATOR))).sum().backward()
    assert all(float(block.mlp[1].weight.grad.abs().max()) > 0 for level in network.encoders for block in level)


def test_a_module_of_another_width_is_refused():
    wide = NAFNetConfig(
        width=64, encoder_blocks=(1, 2), middle_blocks=1, decoder_blocks=(1, 1), context_dim=16, patch=2
    )
    with pytest.raises(TrainingError, match="width=64"):
        start_from_correction(ConditionalNAFNet(CONFIG), NAFNet(as_correction(wide)), "there")
