"""Token embeddings of a text encoder that keeps some of CLIP's 49,408 tokens; all others read one row.

A small text encoder learns the words of its training phrases.  Every other row is noise that training made harmless,
but takes as much room (docs/decisions/0051).

Shapes:  N texts, L tokens, R kept tokens, D text width.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenTable(nn.Module):
    """Replaces CLIP's `token_embedding`.

    `ids` (R,) int32 are the kept tokens in ascending order, and `weight` (R + 1, D) are their rows, followed by the row
    of all other tokens.
    """

    def __init__(self, kept: int, width: int) -> None:
        super().__init__()
        self.register_buffer("ids", torch.arange(kept, dtype=torch.int32))
        self.weight = nn.Parameter(torch.zeros(kept + 1, width))

    @property
    def kept(self) -> int:
        """The number of tokens with a row of their own."""
        return len(self.weight) - 1

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L) -> (N, L, D)."""
        return F.embedding(self.rows(tokens), self.weight)

    def rows(self, tokens: Tensor) -> Tensor:
        """Returns the index in `weight` of each token, any shape int64."""
        ids = self.get_buffer("ids")
        at = torch.searchsorted(ids, tokens.to(ids.dtype)).clamp(max=self.kept - 1)
        return torch.where(ids[at] == tokens, at, self.kept)

    def with_tokens(self, tokens: Tensor) -> "TokenTable":
        """Returns a table with own rows for these tokens, too; new ones begin as the row of the others."""
        ids = _ascending(torch.cat([self.get_buffer("ids"), tokens.to(torch.int32)]))
        wider = TokenTable(len(ids), self.weight.shape[1])
        wider.ids = ids
        rows = torch.cat([self.rows(ids.long()), torch.tensor([self.kept])])
        wider.weight = nn.Parameter(self.weight.detach()[rows].clone(), requires_grad=self.weight.requires_grad)
        return wider


def compact(embedding: Tensor, kept: Tensor) -> dict[str, Tensor]:
    """Returns the tensors of a `TokenTable` that keeps these tokens of a whole table (V, D).

    The row of all other tokens is the mean of theirs.
    """
    ids = _ascending(kept)
    others = torch.ones(len(embedding), dtype=torch.bool)
    others[ids] = False
    mean = embedding[others].float().mean(dim=0, keepdim=True) if bool(others.any()) else torch.zeros(1)
    return {
        "ids": ids.to(torch.int32),
        "weight": torch.cat([embedding[ids].float(), mean.expand(1, embedding.shape[1])]),
    }


def expanded(state: Mapping[str, Tensor], prefix: str, vocabulary: int) -> dict[str, Tensor]:
    """Returns the tensors of a CLIP with a row for every token; `prefix` is that of CLIP's names.

    Without a `TokenTable` they stay as they are.
    """
    key = prefix + "token_embedding."
    if key + "ids" not in state:
        return dict(state)
    table = state[key + "weight"]
    whole = table[-1].expand(vocabulary, -1).clone()
    whole[state[key + "ids"].long()] = table[:-1]
    return {**{name: value for name, value in state.items() if name != key + "ids"}, key + "weight": whole}


def _ascending(tokens: Tensor) -> Tensor:
    return torch.tensor(sorted(set(tokens.tolist())), dtype=tokens.dtype)
