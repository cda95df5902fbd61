"""The small text tower: every phrasing of a degradation lands on its class prompt.

    loss = cross-entropy of cos(phrase, class prompts) * scale          what is meant
         + weight * (1 - cos(phrase state, class prompt's state))       the denoiser reads states, not pooled features
         + weight * mean max(0, cos(class i, class j) - margin)         classes stay apart
         + weight * |class states - those of the tower begun with|^2    only with --start-from

The last term is for a tower that others have been trained with: phrases may move to the class prompts, but these stay
where the denoiser and the assessor expect them.

Phrases are read unmasked and class prompts masked, as AutoDIR reads them.  Words outside the lexicon keep their random
embedding; random tokens in the training phrases make them harmless.

Shapes:  B phrases, K names, L tokens, D text width, E joint width.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

from models.autodir.assessor import prompt_of
from models.errors import TrainingError
from models.networks.clip import END_OF_TEXT, build_clip, lengths, text_states, tokenize
from models.training.autodir import autodir_small
from models.training.core.trainer import save_weights
from models.training.daclip import daclip_small
from models.training.data.phrases import HELD_OUT, phrase
from models.vocabulary import DACLIP_WORDS, degradation

SCALE = 20.0
MARGIN = 0.3
KEPT = 100.0
Classes = tuple[Tensor, Tensor]
"""Of the class prompts: states (K, L, D) and unit features (K, E)."""


@dataclass(frozen=True, kw_only=True)
class TextScore:
    """Share of held-out phrasings understood: over all, and for each name."""

    accuracy: float
    by_name: dict[str, float]
    misread: tuple[str, ...]


def text_parameters(clip: nn.Module) -> dict[str, Tensor]:
    """The text side of an open_clip CLIP, by name."""
    return {
        name: value
        for name, value in clip.state_dict().items()
        if not name.startswith("visual.") and name != "logit_scale"
    }


def load_text_tower(clip: nn.Module, path: Path) -> None:
    """Fill the text side of an open_clip CLIP from `python -m models.training.core.text`.

    Raises:
        TrainingError: the file is missing, or its tensors do not fit.
    """
    if not path.exists():
        raise TrainingError(f"{path} does not exist; make it with: python -m models.training.core.text --out {path}")
    missing, unexpected = clip.load_state_dict(load_file(path), strict=False)
    left = [name for name in missing if not name.startswith("visual.") and name != "logit_scale"]
    if left or unexpected:
        raise TrainingError(f"{path} does not fit this text tower: missing {left[:3]}, unexpected {unexpected[:3]}")


def prompts_of(names: Sequence[str]) -> dict[str, str]:
    """AutoDIR's class prompts by name."""
    return {name: prompt_of(name) for name in names}


def words_of(words: Sequence[str]) -> dict[str, str]:
    """DA-CLIP's words by name: they are their own class prompts."""
    return {degradation(word).name: word for word in words}


def class_states(clip: nn.Module, classes: Mapping[str, str], device: torch.device) -> tuple[Tensor, Tensor]:
    """States (K, L, D) and unit features (K, E) of the class prompts; `classes` gives them by name."""
    states, pooled = text_states(clip, tokenize(list(classes.values())).to(device), masked=True)
    return states, F.normalize(pooled, dim=-1)


def disturbed(tokens: Tensor, rng: np.random.Generator, share: float = 0.12) -> Tensor:
    """Some words replaced by random ones: (B, L) -> (B, L); begin, end and padding stay."""
    inside = torch.arange(tokens.shape[1]) < lengths(tokens) - 1
    inside[:, 0] = False
    hit = inside & torch.from_numpy(rng.random(tokens.shape) < share)
    return torch.where(hit, torch.from_numpy(rng.integers(0, END_OF_TEXT - 1, tokens.shape)), tokens)


def at_end(states: Tensor, tokens: Tensor) -> Tensor:
    """The state at the end token: (B, L, D) -> (B, D)."""
    return states[torch.arange(len(tokens)), lengths(tokens)[:, 0] - 1]


def text_loss(
    clip: nn.Module, classes: Mapping[str, str], tokens: Tensor, labels: Tensor, kept: Classes | None = None
) -> Tensor:
    """The terms above for phrases (B, L) with labels (B,); `kept` is where the class prompts were."""
    class_tokens = tokenize(list(classes.values()))
    prompt_states, prompts = class_states(clip, classes, tokens.device)
    states, pooled = text_states(clip, tokens, masked=False)
    meant = F.cross_entropy(SCALE * F.normalize(pooled, dim=-1) @ prompts.T, labels)
    goal = at_end(prompt_states, class_tokens)[labels].detach()
    near = 1 - F.cosine_similarity(at_end(states, tokens), goal, dim=-1).mean()
    count = len(classes)
    cosines = prompts @ prompts.T - torch.eye(count, device=prompts.device)
    apart = (cosines - MARGIN).clamp_min(0).sum() / (count * (count - 1))
    moved = meant.new_zeros(())
    if kept is not None:
        moved = F.mse_loss(prompt_states, kept[0]) + F.mse_loss(prompts, kept[1])
    return meant + 0.5 * near + apart + KEPT * moved


def train_text_tower(
    clip: nn.Module, classes: Mapping[str, str], *, seed: int, steps: int, device: torch.device,
    report: Callable[[int, float], None] = lambda step, loss: None, batch: int = 64, keep: bool = False,
) -> TextScore:  # fmt: skip
    """Train the text side in place; the image tower is not touched.  `keep`: the class prompts stay where they are."""
    with torch.no_grad():
        kept = class_states(clip, classes, device) if keep else None
    rng, names = np.random.default_rng(seed), list(classes)
    trained = [p for name, p in clip.named_parameters() if not name.startswith("visual.") and name != "logit_scale"]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        labels = torch.from_numpy(rng.integers(0, len(names), batch))
        tokens = disturbed(tokenize([phrase(names[int(label)], rng) for label in labels]), rng)
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
    """How many of these (phrase, name) pairs the tower understands."""
    names, pairs = list(classes), [(text, name) for text, name in held_out if name in classes]
    _, prompts = class_states(clip, classes, device)
    _, pooled = text_states(clip, tokenize([text for text, _ in pairs]).to(device), masked=False)
    answers = [names[int(i)] for i in (F.normalize(pooled, dim=-1) @ prompts.T).argmax(dim=-1)]
    right = {name: [a == n for a, (_, n) in zip(answers, pairs, strict=True) if n == name] for name in names}
    return TextScore(
        accuracy=sum(map(sum, right.values())) / len(pairs),
        by_name={name: sum(hits) / len(hits) for name, hits in right.items() if hits},
        misread=tuple(f"{text} -> {a}" for a, (text, name) in zip(answers, pairs, strict=True) if a != name),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models.training.core.text", description="Train the small text tower."
    )
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", type=Path, help="a trained tower: its class prompts stay where they are")
    parser.add_argument(
        "--classes", choices=("autodir", "daclip"), default="autodir", help="AutoDIR's prompts, or DA-CLIP's ten words"
    )
    arguments = parser.parse_args()
    console, started_s = Console(stderr=True), time.monotonic()
    torch.manual_seed(arguments.seed)
    config, classes = (
        (autodir_small.CLIP, prompts_of(autodir_small.NAMES))
        if arguments.classes == "autodir"
        else (daclip_small.CONTROLLER.clip, words_of(DACLIP_WORDS))
    )
    clip = build_clip(config)
    if arguments.start_from is not None:
        load_text_tower(clip, arguments.start_from)

    def report(step: int, loss: float) -> None:
        if step % 50 == 0:
            console.print(f"step {step} loss {loss:.3f} {time.monotonic() - started_s:.0f} s")

    result = train_text_tower(
        clip, classes, seed=arguments.seed, steps=arguments.steps, device=torch.device("cpu"), report=report,
        keep=arguments.start_from is not None,
    )  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(copy.copy(text_parameters(clip)), arguments.out)
    console.print(f"held-out phrasings understood: {result.accuracy:.1%} {result.by_name}")
    console.print("\n".join(result.misread), markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
