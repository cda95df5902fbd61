"""Finds out how a text encoder understands a free prompt: which name it resembles, how much, and which words have no
part in it.

A word has no part if the bundle's text encoder scores every repair the same without it.  Torch-free.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from models.restoration_report import Understood

Scores = dict[str, float]
SAME = 0.01
"""A difference of a score that counts as none."""
MAX_WORDS = 12
"""A longer prompt is not taken apart: each word costs a run of the text encoder."""


def understand(
    prompt: str, scores_of: Callable[[Sequence[str]], list[Scores]], used: Literal["text", "label", "nothing"] = "text"
) -> Understood:
    """Returns how a prompt was understood; `scores_of` scores the names for each of several prompts."""
    words = prompt.split()
    parts = [" ".join(words[:index] + words[index + 1 :]) for index in range(len(words))]
    whole, *without = scores_of([prompt, *(parts if 1 < len(words) <= MAX_WORDS else [])])
    label = max(whole, key=lambda name: whole[name])
    ignored = [word for word, scores in zip(words, without, strict=False) if _distance(whole, scores) < SAME]
    return Understood(label=label, score=whole[label], ignored=tuple(ignored), used=used)


def _distance(one: Scores, other: Scores) -> float:
    return max(abs(one[name] - other[name]) for name in one)
