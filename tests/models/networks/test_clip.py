"""CLIP's text side against the published numbers: token ids, padding, and states before pooling."""

import pytest
import torch
from parity_check import assert_parity
from safetensors.torch import load_file

from models.networks.clip import (
    END_OF_TEXT,
    ClipConfig,
    TextConfig,
    VisionConfig,
    build_clip,
    lengths,
    text_states,
    tokenize,
)
from models.vocabulary import AUTODIR_NAMES, NOTHING, degradation

CLASS_PROMPTS = [degradation(name).prompt for name in AUTODIR_NAMES] + [NOTHING.prompt]


@pytest.fixture(scope="module")
def clip(tiny_clip, tiny_clip_state):
    network = build_clip(tiny_clip).eval()
    network.load_state_dict(tiny_clip_state, strict=True)
    return network


@pytest.fixture(scope="module")
def hidden(shared):
    return load_file(shared / "parity" / "autodir" / "clip.safetensors")


def test_prompts_become_the_published_token_ids(parity):
    vectors = load_file(parity / "clip_small.safetensors")
    assert torch.equal(tokenize(CLASS_PROMPTS), vectors["prompt_ids"])
    assert torch.equal(tokenize([""]), vectors["null_ids"])


def test_each_prompt_is_as_long_as_published(parity):
    """8, 8, 8, 10, 8, 9, 9, 8 tokens with begin and end; the published mask is one there."""
    tokens = tokenize(CLASS_PROMPTS)
    assert lengths(tokens)[:, 0].tolist() == [8, 8, 8, 10, 8, 9, 9, 8]
    mask = load_file(parity / "clip_small.safetensors")["prompt_mask"]
    assert torch.equal((torch.arange(77) < lengths(tokens)).long(), mask)


def test_length_does_not_depend_on_what_pads():
    tokens = tokenize(["rain"])
    zeros = torch.where(torch.arange(77) < 3, tokens, 0)
    assert lengths(tokens).tolist() == lengths(zeros).tolist() == [[3]]


def test_a_text_that_is_too_long_is_cut_and_still_ends():
    tokens = tokenize(["fog " * 200])
    assert tokens.shape == (1, 77)
    assert tokens[0, -1] == END_OF_TEXT
    assert lengths(tokens).tolist() == [[77]]


def test_masked_states_of_the_class_prompts_are_those_published(clip, parity, hidden):
    with torch.inference_mode():
        states, _ = text_states(clip, load_file(parity / "clip_small.safetensors")["prompt_ids"], masked=True)
    assert_parity(states, hidden["text_hidden"])


@pytest.mark.parametrize("masked", [True, False])
def test_states_of_the_null_prompt_are_those_published(clip, hidden, masked):
    with torch.inference_mode():
        states, _ = text_states(clip, tokenize([""]), masked)
    expected = hidden["null_hidden_masked" if masked else "null_hidden_nomask"]
    assert_parity(states, expected)


def test_states_of_a_user_prompt_are_those_published(clip, hidden):
    with torch.inference_mode():
        states, _ = text_states(clip, hidden["user_ids"], masked=False)
    assert_parity(states, hidden["user_hidden_nomask"])


def test_masking_changes_padded_positions_only(clip):
    tokens = tokenize(["A photo needs rain artifact reduction", "too dark"])
    with torch.inference_mode():
        (masked, pooled), (plain, same) = text_states(clip, tokens, True), text_states(clip, tokens, False)
    for row, length in enumerate(lengths(tokens)[:, 0].tolist()):
        assert_parity(masked[row, :length], plain[row, :length])
        assert (masked[row, length:] - plain[row, length:]).abs().amax() > 1
    assert_parity(pooled, same)


def test_pooled_features_are_those_of_open_clip(clip):
    """open_clip pools at the largest token id, which is the end token; it pads with zeros."""
    tokens = tokenize(["grainy", "wash the fog away"])
    padded_with_zeros = torch.where(torch.arange(77) < lengths(tokens), tokens, 0)
    with torch.inference_mode():
        _, pooled = text_states(clip, tokens, masked=False)
        expected = clip.encode_text(padded_with_zeros)
    assert_parity(pooled, expected)


def test_the_states_of_a_text_do_not_depend_on_its_batch(clip):
    tokens = tokenize(["rain", "a much longer text about fog and haze", ""])
    with torch.inference_mode():
        together, _ = text_states(clip, tokens, masked=True)
        alone = torch.cat([text_states(clip, row[None], masked=True)[0] for row in tokens])
    assert_parity(together, alone)


def test_an_image_encoder_may_be_a_residual_network():
    config = ClipConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=64, layers=(1, 1, 1, 1), width=8, head_width=32),
        text=TextConfig(vocab_size=49408, width=16, heads=2, layers=1),
    )
    with torch.inference_mode():
        assert build_clip(config).eval().encode_image(torch.zeros(2, 3, 64, 64)).shape == (2, 16)


def test_the_defaults_are_the_published_clip():
    with torch.device("meta"):
        network = build_clip(ClipConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == 427_616_513
