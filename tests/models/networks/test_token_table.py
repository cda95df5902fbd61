"""A table of kept tokens gives each of them its row, and one row to all others."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.networks.clip import ClipConfig, TextConfig, VisionConfig, build_clip, text_states, tokenize
from models.networks.token_table import TokenTable, compact

VOCABULARY, WIDTH = 50, 3
TOKENS = st.integers(0, VOCABULARY - 1)


def table_of(whole, kept):
    tensors = compact(whole, torch.tensor(sorted(kept)))
    table = TokenTable(len(tensors["ids"]), whole.shape[1])
    table.load_state_dict(tensors)
    return table.requires_grad_(False)


@settings(deadline=None)  # importing torch's parts takes seconds in the first example
@given(kept=st.sets(TOKENS, min_size=1), tokens=st.lists(TOKENS, min_size=1))
def test_kept_tokens_have_the_row_of_torchs_embedding_and_others_the_mean_of_theirs(kept, tokens):
    whole = torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(0))
    expected = whole.clone()
    others = [token for token in range(VOCABULARY) if token not in kept]
    if others:
        expected[others] = sum(whole[token] for token in others) / len(others)
    asked = torch.tensor([tokens])
    torch.testing.assert_close(table_of(whole, kept)(asked), nn.functional.embedding(asked, expected))


@settings(deadline=None)  # importing torch's parts takes seconds in the first example
@given(kept=st.sets(TOKENS, min_size=1), added=st.lists(TOKENS, min_size=1))
def test_a_token_that_joins_changes_no_text_and_can_then_be_changed_alone(kept, added):
    table = table_of(torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(0)), kept)
    wider = table.with_tokens(torch.tensor(added))
    every = torch.arange(VOCABULARY)[None]
    before = table(every)
    assert torch.equal(wider(every), before)
    wider.weight[wider.rows(torch.tensor(added[:1]))] += 1
    changed = (wider(every) != before).any(dim=-1)[0]
    assert changed.nonzero()[:, 0].tolist() == added[:1]
    assert wider.kept == len(kept | set(added))


def test_clip_reads_kept_words_as_with_all_its_tokens():
    text = TextConfig(width=16, heads=2, layers=1)
    sizes = {"embed_dim": 16, "vision": VisionConfig(image_size=32, layers=1, width=16, patch_size=8, head_width=8)}
    whole = build_clip(ClipConfig(**sizes, text=text))
    known = tokenize(["remove the rain", "more light"])
    table = compact(whole.token_embedding.weight.detach(), known.flatten())
    small = build_clip(ClipConfig(**sizes, text=TextConfig(width=16, heads=2, layers=1, kept_tokens=len(table["ids"]))))
    state = {name: value for name, value in whole.state_dict().items() if name != "token_embedding.weight"}
    small.load_state_dict({**state, **{f"token_embedding.{name}": value for name, value in table.items()}})
    for prompts, same in ((known, True), (tokenize(["zebra"]), False)):
        one, other = (text_states(clip, prompts, masked=False)[1] for clip in (whole, small))
        assert torch.allclose(one, other) == same
