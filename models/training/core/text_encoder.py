"""Trains the small text encoder: every phrasing of a degradation gets the embedding of its class prompt.

    loss = cross-entropy of cos(phrase, class prompts) * scale          classifies the phrase
         + 0.5 * (1 - cos(phrase state, class prompt's state))          the denoiser reads states, not pooled features
         + mean max(0, cos(class i, class j) - margin)                  keeps the classes apart
         + weight * |class states - class states at the start|^2        only with `keep`

The last term is for an encoder that other networks were trained with.  Phrases may move to the class prompts, but the
class prompts stay where the denoiser and the assessor expect them.

Phrases are read unmasked and class prompts masked, as AutoDIR reads them.  Words outside the lexicon keep their random
embeddings; random tokens in the training phrases make these words harmless.

Shapes:  B phrases, K names, L tokens, D text width, E joint width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.errors import TrainingError
from models.networks.clip import END_OF_TEXT, lengths, text_states, tokenize
from models.training.core.weights_file import read_weights_file
from models.training.data.phrases import HELD_OUT, phrase

SCALE = 20.0
MARGIN = 0.3
KEEP_WEIGHT = 100.0
ClassEmbeddings = tuple[Tensor, Tensor]
"""Of the class prompts: states (K, L, D) and unit features (K, E)."""


@dataclass(frozen=True, kw_only=True)
class TextScore:
    """Share of held-out phrasings that are classified correctly, in total and by name; `errors` lists the others."""

    accuracy: float
    by_name: dict[str, float]
    errors: tuple[str, ...]


def is_text_parameter(name: str) -> bool:
    return not name.startswith("visual.") and name != "logit_scale"


def text_parameters(clip: nn.Module) -> dict[str, Tensor]:
    """Returns the text part of an open_clip CLIP, by parameter name."""
    return {name: value for name, value in clip.state_dict().items() if is_text_parameter(name)}


def load_text_encoder(clip: nn.Module, path: Path) -> None:
    """Load the file of the stage `text` into the text part of an open_clip CLIP.

    Raises:
        TrainingError: the file is missing, or its tensors do not fit.
    """
    if not path.exists():
        raise TrainingError(f"{path} does not exist. Train it first: python -m models.training text --out {path}")
    missing, unexpected = clip.load_state_dict(read_weights_file(path), strict=False)
    missing = [name for name in missing if is_text_parameter(name)]
    if missing or unexpected:
        raise TrainingError(
            f"{path} does not fit this text encoder: missing {missing[:3]}, unexpected {unexpected[:3]}"
        )


def class_embeddings(clip: nn.Module, classes: Mapping[str, str], device: torch.device) -> ClassEmbeddings:
    """Returns the embeddings of the class prompts; `classes` maps names to prompts."""
    states, pooled = text_states(clip, tokenize(list(classes.values())).to(device), masked=True)
    return states, F.normalize(pooled, dim=-1)


def replace_random_words(tokens: Tensor, rng: np.random.Generator, share: float = 0.12) -> Tensor:
    """Replace a share of the words by random tokens: (B, L) -> (B, L); begin, end and padding stay."""
    inside = torch.arange(tokens.shape[1]) < lengths(tokens) - 1
    inside[:, 0] = False
    replaced = inside & torch.from_numpy(rng.random(tokens.shape) < share)
    return torch.where(replaced, torch.from_numpy(rng.integers(0, END_OF_TEXT - 1, tokens.shape)), tokens)


def end_states(states: Tensor, tokens: Tensor) -> Tensor:
    """Returns the state at the first end token: (B, L, D) -> (B, D)."""
    return states[torch.arange(len(tokens)), lengths(tokens)[:, 0] - 1]


def text_loss(
    clip: nn.Module, classes: Mapping[str, str], tokens: Tensor, labels: Tensor, kept: ClassEmbeddings | None = None
) -> Tensor:
    """Returns the sum of the terms above for phrases (B, L) with labels (B,); `kept` adds the last term."""
    class_tokens = tokenize(list(classes.values()))
    prompt_states, prompts = class_embeddings(clip, classes, tokens.device)
    states, pooled = text_states(clip, tokens, masked=False)
    classification = F.cross_entropy(SCALE * F.normalize(pooled, dim=-1) @ prompts.T, labels)
    goal = end_states(prompt_states, class_tokens)[labels].detach()
    distance = 1 - F.cosine_similarity(end_states(states, tokens), goal, dim=-1).mean()
    count = len(classes)
    cosines = prompts @ prompts.T - torch.eye(count, device=prompts.device)
    separation = (cosines - MARGIN).clamp_min(0).sum() / (count * (count - 1))
    moved = classification.new_zeros(())
    if kept is not None:
        moved = F.mse_loss(prompt_states, kept[0]) + F.mse_loss(prompts, kept[1])
    return classification + 0.5 * distance + separation + KEEP_WEIGHT * moved


def train_text_encoder(
    clip: nn.Module, classes: Mapping[str, str], *, seed: int, steps: int, device: torch.device,
    report: Callable[[int, float], None] = lambda step, loss: None, batch: int = 64, keep: bool = False,
) -> TextScore:  # fmt: skip
    """Train the text part in place; the image encoder does not change.

    Args:
        report: called with the step and the loss of each step.
        keep: penalize changes of the class prompts' embeddings.
    """
    with torch.no_grad():
        kept = class_embeddings(clip, classes, device) if keep else None
    rng, names = np.random.default_rng(seed), list(classes)
    trained = [parameter for name, parameter in clip.named_parameters() if is_text_parameter(name)]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        labels = torch.from_numpy(rng.integers(0, len(names), batch))
        tokens = replace_random_words(tokenize([phrase(names[int(label)], rng) for label in labels]), rng)
        loss = text_loss(clip, classes, tokens.to(device), labels.to(device), kept)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        report(step, float(loss.detach()))
    return score(clip, classes, HELD_OUT, device)


@torch.no_grad()
def score(
    clip: nn.Module, classes: Mapping[str, str], held_out: Sequence[tuple[str, str]], device: torch.device
) -> TextScore:
    """Classify (phrase, name) pairs; pairs with names outside `classes` do not count."""
    names, pairs = list(classes), [(text, name) for text, name in held_out if name in classes]
    _, prompts = class_embeddings(clip, classes, device)
    _, pooled = text_states(clip, tokenize([text for text, _ in pairs]).to(device), masked=False)
    answers = [names[int(i)] for i in (F.normalize(pooled, dim=-1) @ prompts.T).argmax(dim=-1)]
    hits = {name: [a == n for a, (_, n) in zip(answers, pairs, strict=True) if n == name] for name in names}
    return TextScore(
        accuracy=sum(map(sum, hits.values())) / len(pairs),
        by_name={name: sum(own) / len(own) for name, own in hits.items() if own},
        errors=tuple(f"{text} -> {a}" for a, (text, name) in zip(answers, pairs, strict=True) if a != name),
    )
