"""The tokens that keep rows of their own in the text encoder of a bundle (models.networks.token_table)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.networks.clip import tokenize
from models.training.data.phrases import ADJECTIVES, COMMANDS, COMPLAINTS, NOUNS, PLACES, STATES, VERBS
from models.vocabulary import CLEAN, NOTHING, degradation

FREQUENT = 5_000
"""CLIP's tokens are in the order of their frequency in captions.  The first ones keep their rows, although few were
trained: with them, 99 % of English prompts get the label that they had before (docs/decisions/0051)."""


def kept_tokens(prompts: Sequence[str] = ()) -> Tensor:
    """Returns the tokens (R,) of all training phrases and of `prompts`, and the most frequent ones, ascending."""
    said = tokenize([*_texts(), *prompts]).flatten().tolist()
    return torch.tensor(sorted({*said, *range(FREQUENT)}))


def _texts() -> list[str]:
    lexicon = [words for table in (NOUNS, ADJECTIVES, COMMANDS) for words in table.values()]
    frames = [text.replace("{}", "") for text in (*COMPLAINTS, *STATES)]
    names = {name for table in (NOUNS, COMMANDS) for name in table}
    prompts = [(NOTHING if name == CLEAN else degradation(name)).prompt for name in sorted(names)]
    return [
        *(text for words in lexicon for text in words),
        *frames,
        *VERBS,
        *PLACES,
        *prompts,
        "the",
        "all the",
        "this",
    ]
