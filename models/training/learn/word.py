"""Teaches a frozen text encoder one new word, so that its class prompt is as far from the others as theirs are.

Only the embeddings of the word's own tokens are trained.  The class prompts of the other degradations do not contain
them, so their states and features stay the same, bit for bit, and with them all networks that read them.

Shapes:  K names, E joint width.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.autodir.assessor import prompt_of
from models.errors import TrainingError
from models.networks.clip import END_OF_TEXT, text_states, tokenize
from models.networks.token_table import TokenTable
from models.training.core.text_encoder import SCALE, class_embeddings
from models.training.data.phrases import COMMANDS, phrase
from models.vocabulary import degradation

STEPS, LEAST_STEPS, BATCH, RATE = 200, 40, 24, 0.1
CLOSE_ENOUGH = 0.1
"""Training ends early when the new prompt resembles no other one by more than this (cosine)."""
SEPARATION = 8.0


def own_tokens(word: str, names: Sequence[str]) -> list[int]:
    """Returns the tokens of a word that no class prompt of `names` contains.

    Raises:
        TrainingError: there is none.
    """
    taken = set(tokenize([prompt_of(name) for name in names]).flatten().tolist())
    own = [token for token in tokenize([word])[0, 1:].tolist() if token != END_OF_TEXT and token not in taken]
    if not own:
        raise TrainingError(f"the name {word!r} consists of words that other degradations have. Choose another --name.")
    return list(dict.fromkeys(own))


def teach_word(clip: nn.Module, names: Sequence[str], name: str, seed: int = 0, steps: int = STEPS) -> float:
    """Train the embeddings of the word's tokens, in place; returns the largest cosine of its prompt with another one.

    Args:
        names: the degradations that the encoder knows, with "clean".
        name: the new one.

    Raises:
        TrainingError: the word has no token of its own.
    """
    own = own_tokens(degradation(name).word, names)
    table, rows = _table_with(clip, own)
    embedding = nn.Parameter(table.detach()[rows].clone())
    optimizer = torch.optim.Adam([embedding], lr=RATE)
    classes = {entry: prompt_of(entry) for entry in (*names, name)}
    rng = np.random.default_rng(seed)
    known = [entry for entry in names if entry in COMMANDS]
    for step in range(steps):
        optimizer.zero_grad()
        with _RowsReplaced(clip, own, embedding):
            loss, cosine = _loss(clip, classes, known, rng)
            if step >= LEAST_STEPS and cosine < CLOSE_ENOUGH:
                break
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        table[rows] = embedding
        _, prompts = class_embeddings(clip, classes, table.device)
        return float((prompts[:-1] @ prompts[-1]).max())


def _table_with(clip: nn.Module, tokens: Sequence[int]) -> tuple[Tensor, list[int]]:
    """Give these tokens rows of their own; returns the embeddings, and which of their rows are those of the tokens."""
    module = clip.get_submodule("token_embedding")
    if not isinstance(module, TokenTable):
        return clip.get_parameter("token_embedding.weight"), list(tokens)
    wider = module.with_tokens(torch.tensor(tokens))
    clip.token_embedding = wider
    return wider.weight, wider.rows(torch.tensor(tokens)).tolist()


class _RowsReplaced:
    """Lets the token embedding read these tokens from a parameter, so that gradients reach nothing else."""

    def __init__(self, clip: nn.Module, tokens: Sequence[int], embedding: Tensor) -> None:
        self.module, self.tokens, self.embedding = clip.get_submodule("token_embedding"), tokens, embedding

    def __enter__(self) -> None:
        index = torch.tensor(self.tokens)

        def replaced(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            match = inputs[0][..., None] == index  # (N, L, R)
            return torch.where(match.any(-1, keepdim=True), match.to(output.dtype) @ self.embedding, output)

        self.handle = self.module.register_forward_hook(replaced)

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


def _loss(
    clip: nn.Module, classes: dict[str, str], known: Sequence[str], rng: np.random.Generator
) -> tuple[Tensor, float]:
    """Returns the loss (classified phrases, distance of the prompt), and the prompt's largest cosine with another."""
    new = list(classes)[-1]
    word = degradation(new).word
    drawn = [(phrase(new, rng), len(classes) - 1) for _ in range(BATCH // 2)]
    for _ in range(BATCH // 2 if known else 0):
        name = known[int(rng.integers(len(known)))]
        text = phrase(name, rng)
        if word not in text:  # the user's word wins
            drawn.append((text, list(classes).index(name)))
    _, pooled = text_states(clip, tokenize([text for text, _ in drawn]), masked=False)
    _, prompts = class_embeddings(clip, classes, pooled.device)
    labels = torch.tensor([label for _, label in drawn])
    classified = F.cross_entropy(SCALE * F.normalize(pooled, dim=-1) @ prompts.T, labels)
    cosines = prompts[:-1] @ prompts[-1]
    return classified + SEPARATION * cosines.clamp_min(0).square().sum(), float(cosines.detach().max())
