"""The efficient U-Net: the authors' outputs, their layout, and the blocks that each mode runs."""

import math

import pytest
import torch
from parity_check import assert_parity

from models.convert.daclip.check import check_unet_outputs
from models.convert.etdiffir.check import check_erunet, load_erunet
from models.convert.etdiffir.rules import ERUNET_RULES, erunet_config, erunet_on_meta
from models.convert.rule_table import make_recipe
from models.errors import BundleError, ControlsError
from models.etdiffir.erunet import EfficientBlock, EfficientUNet, EfficientUNetConfig, ResponseNorm
from models.etdiffir.fusion import fuse

SMALL = {"width": 32, "multipliers": (1, 2), "context_dim": 48}


def predict(network, degradation=True):
    config = network.efficient
    token, joint = fuse(torch.randn(1, config.context_dim), torch.randn(1, config.context_dim), config.mode)
    constants = network.prepare(token, joint if degradation else None)
    return network(torch.rand(1, 3, 16, 24), torch.rand(1, 3, 16, 24), torch.tensor([7]), constants)


def test_the_outputs_of_the_authors_module_are_reproduced(erunet_file, daclip_vectors):
    rows = list(check_erunet(erunet_file, daclip_vectors))
    assert len(rows) == 9
    assert all(row.ok for row in rows), [(row.group, row.relative) for row in rows if not row.ok]


def test_a_wrong_weight_is_noticed(erunet_file, daclip_vectors):
    from safetensors.torch import load_file

    network = load_erunet(erunet_file)
    network.downs[0][0].block1.proj[0].grn.gamma.data += 0.01
    with torch.inference_mode():
        path = daclip_vectors / "e_erunet_small.safetensors"
        rows = list(check_unet_outputs(network, load_file(path), path))
    assert not any(row.ok for row in rows)


def test_the_published_layout_converts_without_a_missing_or_unexpected_key(daclip_shapes):
    full = daclip_shapes("e_erunet_full")
    config = erunet_config({key: torch.Size(shape) for key, shape in full.items()})
    assert config == EfficientUNetConfig()
    own = {key: tuple(value.shape) for key, value in erunet_on_meta(config)["unet"].state_dict().items()}
    made = make_recipe(ERUNET_RULES, full)["unet"]
    assert {name: full[sources[0].key] for name, sources in made.items()} == own


def test_the_published_counts_of_parameters(daclip_shapes):
    """Sensors 2024's code: 45,244,035 stored, 33,779,459 of them used; the others are the decoder's unused blocks."""
    stored = {key: math.prod(shape) for key, shape in daclip_shapes("e_erunet_full").items()}
    assert sum(stored.values()) == 45_244_035
    with torch.device("meta"):
        network = EfficientUNet(EfficientUNetConfig())
    unused = sum(value.numel() for name, value in network.named_parameters() if ".proj.1." in name)
    assert sum(stored.values()) - unused == 33_779_459


def test_published_code_runs_no_decoder_block_and_paper_runs_all():
    torch.manual_seed(0)
    for mode, unused in (("published-code", lambda name: ".proj.1." in name), ("paper", lambda name: False)):
        network = EfficientUNet(EfficientUNetConfig(mode=mode, **SMALL))
        for module in network.modules():  # layers initialized with zero would block the gradients
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.normal_(module.weight, std=0.1)
        predict(network).square().sum().backward()
        for name, value in network.named_parameters():
            assert (value.grad is None) == unused(name), (mode, name)


def test_the_papers_decoder_has_one_block_per_level_and_the_encoder_two():
    network = EfficientUNet(EfficientUNetConfig(mode="paper", **SMALL))
    for levels, expected in ((network.downs, [2, 2]), (network.ups, [1, 1])):
        found = [
            sum(any(isinstance(part, EfficientBlock) for part in block.modules()) for block in (level[0], level[1]))
            for level in levels
        ]
        assert found == expected


def test_the_paper_concatenates_and_the_code_adds():
    caption, degradation = torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0, 20.0]])
    token, joint = fuse(caption, degradation, "published-code")
    torch.testing.assert_close(token, torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(joint, torch.tensor([[10.6, 20.8]]))
    torch.testing.assert_close(fuse(caption, degradation, "paper")[1], torch.tensor([[0.6, 0.8, 10.0, 20.0]]))


def test_the_condition_changes_the_output():
    torch.manual_seed(1)
    network = EfficientUNet(EfficientUNetConfig(mode="paper", **SMALL)).eval()
    x, mu, t = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), torch.tensor([5])
    with torch.inference_mode():
        base, other = (network(x, mu, t, network.prepare(*fuse(c, d, "paper"))) for c, d in conditions())
    assert (base - other).abs().max() > 1e-6


def conditions():
    generator = torch.Generator().manual_seed(2)
    degradation = torch.randn(1, 48, generator=generator)
    for _ in range(2):
        yield 5 * torch.randn(1, 48, generator=generator), degradation


def test_images_of_a_batch_do_not_influence_each_other():
    torch.manual_seed(3)
    network = EfficientUNet(EfficientUNetConfig(**SMALL)).eval()
    x, mu, t = torch.rand(3, 3, 16, 24), torch.rand(3, 3, 16, 24), torch.tensor([1, 50, 100])
    content, degradation = torch.randn(3, 48), torch.randn(3, 48)
    with torch.inference_mode():
        constants = network.prepare(content, degradation)
        together = network(x, mu, t, constants)
        alone = [network(x[i : i + 1], mu[i : i + 1], t[i : i + 1], constants[i]) for i in range(3)]
    assert_parity(together, torch.cat(alone))


def test_response_norm_equals_its_formula_in_plain_loops():
    torch.manual_seed(4)
    norm = ResponseNorm(3).double()
    torch.nn.init.normal_(norm.gamma)
    torch.nn.init.normal_(norm.beta)
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    expected = torch.empty_like(x)
    for image in range(2):
        sizes = [math.sqrt(sum(float(v) ** 2 for v in x[image, :, :, channel].flatten())) for channel in range(3)]
        for channel in range(3):
            share = sizes[channel] / (sum(sizes) / 3 + 1e-6)
            value, gamma, beta = x[image, :, :, channel], norm.gamma[0, 0, 0, channel], norm.beta[0, 0, 0, channel]
            expected[image, :, :, channel] = gamma * value * share + beta + value
    assert_parity(norm(x), expected)


def test_a_new_response_norm_is_the_identity():
    x = torch.randn(1, 4, 4, 8)
    torch.testing.assert_close(ResponseNorm(8)(x), x)


def test_another_checkpoint_is_refused_with_the_missing_key():
    with pytest.raises(BundleError, match=r"no mid_block1\.block1\.proj\.0\.dwconv\.weight"):
        erunet_config({"intro.weight": torch.Size([16, 6, 3, 3])})


def test_a_folder_without_vectors_is_refused(erunet_file, tmp_path):
    with pytest.raises(ControlsError, match=r"expected some of e_erunet_small\.safetensors"):
        list(check_erunet(erunet_file, tmp_path))
