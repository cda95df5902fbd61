"""The conversion rules: every key of the released layouts becomes one tensor, and none is left over."""

from pathlib import Path

import pytest
import torch

from models.autodir.air import AIRConfig, UNetConfig
from models.autodir.latents import KLConfig
from models.convert.autodir.conversion import plan_autodir
from models.convert.autodir.rules import Heads, config_of, networks, rules
from models.convert.rule_table import Rule, Source, make_recipe
from models.errors import BundleError
from models.networks.clip import ClipConfig
from models.networks.nafnet import NAFNetConfig

TINY = Path(__file__).parents[2] / "parity" / "autodir" / "keys.tsv"


def key_list(which, request):
    return TINY if which == "tiny" else request.getfixturevalue("shared") / "parity" / "autodir" / "keys_full.tsv"


@pytest.mark.parametrize("which", ["tiny", "full"])
def test_every_key_becomes_one_tensor_of_the_networks(which, shapes, request):
    found = shapes(key_list(which, request))
    config = config_of(found)
    made = make_recipe(rules(config), found)
    expected = networks(config)  # on the meta device
    assert made.keys() == expected.keys()
    for name, network in expected.items():
        assert set(made[name]) == set(network.state_dict())
    used = [source.key for network in made.values() for sources in network.values() for source in sources]
    assert len(used) == len(set(used)) == len(found) - 12 - 2  # the schedule's buffers and the two position_ids


def test_the_full_checkpoint_has_the_published_sizes(shared, shapes):
    config = config_of(shapes(shared / "parity" / "autodir" / "keys_full.tsv"))
    assert (config.clip, config.air, config.scm) == (ClipConfig(), AIRConfig(), NAFNetConfig())
    assert (config.loop.sampler, config.loop.steps, config.loop.max_passes) == ("euler-ancestral", 100, 7)


def test_the_tiny_checkpoint_has_the_sizes_that_its_authors_state(shapes):
    config = config_of(shapes(TINY))
    assert config.air.unet == UNetConfig(block_channels=(32, 64, 128, 128))
    assert config.air.codec == KLConfig(block_channels=(32, 64, 128, 128))
    assert config.scm == NAFNetConfig(width=8)
    assert (config.clip.vision.width // config.clip.vision.head_width, config.clip.text.heads) == (4, 12)
    assert (config.clip.vision.layers, config.clip.vision.mlp_ratio, config.clip.vision.image_size) == (2, 2.0, 224)


def test_the_numbers_of_heads_can_be_given(shapes):
    config = config_of(shapes(TINY), Heads(unet=4, text=6, vision=2))
    assert (config.air.unet.heads, config.clip.text.heads, config.clip.vision.head_width) == (4, 6, 32)


def test_the_first_rule_that_matches_wins_and_none_drops():
    table = [Rule(r"a\.loss\..*", None), Rule(r"a\.(.*)", r"n:\1"), Rule(r"a\.x", "n:never")]
    assert make_recipe(table, ["a.loss.x", "a.x"]) == {"n": {"x": (Source("a.x", ""),)}}


def test_parts_are_fused_in_their_order_and_not_in_the_file_s():
    table = [Rule(rf"{part}\.(w)", r"n:in_\1", part) for part in ("q", "k", "v")]
    (sources,) = make_recipe(table, ["v.w", "q.w", "k.w"])["n"].values()
    assert [source.key for source in sources] == ["q.w", "k.w", "v.w"]


def test_an_unknown_key_is_named():
    with pytest.raises(BundleError, match="unknown keys: b and 1 more"):
        make_recipe([Rule("a", "n:a")], ["a", "b", "c"])


def test_two_keys_for_one_tensor_are_an_error():
    with pytest.raises(BundleError, match="a1 and a2 are the same tensor"):
        make_recipe([Rule("a.", "n:a")], ["a1", "a2"])


def test_a_file_without_sizes_is_not_autodir_s():
    with pytest.raises(BundleError, match="is not AutoDIR's"):
        config_of({"conv.weight": torch.Size([3, 3])})


@pytest.mark.parametrize(
    ("network", "theirs"), [("unet", "convert_ldm_unet_checkpoint"), ("vae", "convert_ldm_vae_checkpoint")]
)
def test_the_table_agrees_with_the_converter_that_diffusers_has(network, theirs, state):
    from diffusers.loaders import single_file_utils

    _, tensors = plan_autodir(state, torch.float32)
    prefix, sizes = {
        "unet": ("unet.", {"layers_per_block": 2}),
        "vae": ("codec.autoencoder.", {"down_block_types": [""] * 4, "up_block_types": [""] * 4}),
    }[network]
    expected = getattr(single_file_utils, theirs)(dict(state), sizes)
    found = {entry.name.removeprefix(prefix): entry for entry in tensors["air"] if entry.name.startswith(prefix)}
    assert found.keys() == expected.keys()
    for name, entry in found.items():
        assert torch.equal(entry.load(), expected[name]), name
