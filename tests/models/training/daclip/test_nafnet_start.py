"""The one-step network that begins as the correction module: the same answer where the two are alike."""

import pytest
import torch

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.errors import TrainingError
from models.networks.nafnet import NAFNet
from models.training.daclip.nafnet_start import as_correction, start_from_correction

CONFIG = NAFNetConfig(
    width=32, encoder_blocks=(1, 2), middle_blocks=1, decoder_blocks=(1, 1), context_dim=16, patch=2
)  # fmt: skip
GENERATOR = torch.Generator().manual_seed(0)


def correction_module():
    """Random, with gains that are not zero."""
    torch.manual_seed(3)
    network = NAFNet(as_correction(CONFIG)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def begun(correction):
    torch.manual_seed(4)
    network = ConditionalNAFNet(CONFIG).eval()
    start_from_correction(network, correction, "there")
    return network


def without_bottom(network):
    """The bottom blocks are where the two differ: attention there, channel attention here."""
    for block in network.middle_blks.children():
        torch.nn.init.zeros_(block.beta)
    return network


@torch.no_grad()
def test_but_for_the_bottom_it_answers_as_the_correction_module_given_the_picture_twice():
    correction = correction_module()
    network = without_bottom(begun(correction))
    picture = torch.rand(2, 3, 24, 20, generator=GENERATOR)
    embeddings = torch.randn(2, 2, 16, generator=GENERATOR)
    restored = network(picture, network.prepare(*embeddings))
    expected = picture + without_bottom(correction).correction(picture, picture)
    assert float((restored - picture).abs().max()) > 0.1, "it does change the picture"
    # The two norms differ in their eps (1e-5 and 1e-6)
    torch.testing.assert_close(restored, expected, rtol=1e-3, atol=2e-3)


@torch.no_grad()
def test_no_word_changes_anything_at_first_and_every_word_can_learn_to():
    network = begun(correction_module())
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
