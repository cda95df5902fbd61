"""Mends typing errors in prompts: a word that is one slip away from a word of the lexicon becomes that word."""

import re
from functools import cache

from models.words.lexicon import languages

SHORTEST = 4
"""Shorter words are too like others: fog, dog."""
LONG = 8
"""Two slips are allowed from this length on."""


def corrected(text: str) -> str:
    """Returns a normalized text in which words that are nearly words of the lexicon are mended.

    The first letter must be right ("train" is not "rain"), and words of four letters may only have two letters swapped,
    or one doubled.
    """
    return re.sub(r"[^\W\d_]+", lambda found: _mended(found[0]), text)


@cache
def _known() -> frozenset[str]:
    return frozenset(w for language in languages() for w in language.words if len(w.rstrip("*")) >= SHORTEST)


@cache
def _mended(word: str) -> str:
    if len(word) < SHORTEST or any(language.matches(word) for language in languages() if language.spaced):
        return word
    near = [mend for known in _known() if known[0] == word[0] and (mend := _slip(word, known))]
    return min(near)[1] if near else word


def _slip(word: str, pattern: str) -> tuple[int, str] | None:
    """Returns the number of slips and the word as meant; None if it is too far from the pattern."""
    stem = pattern.rstrip("*")
    lengths = range(len(stem) - 1, len(stem) + 2) if pattern != stem else [len(word)]
    found = [(slips(word[:length], stem), stem + word[length:]) for length in lengths if length <= len(word)]
    count, meant = min(found, default=(LONG, ""))
    if len(stem) == SHORTEST:
        start = word[: len(stem) + 1]
        swapped = sorted(word) == sorted(stem)
        doubled = len(start) > SHORTEST and set(start) == set(stem)
        return (count, meant) if count == 1 and (swapped or doubled) else None
    return (count, meant) if count <= (2 if len(stem) >= LONG else 1) else None


def slips(one: str, other: str) -> int:
    """Returns the distance in insertions, deletions, replacements and swaps of neighbors (optimal string alignment)."""
    rows = [list(range(len(other) + 1))]
    for i, sign in enumerate(one, 1):
        row = [i]
        for j, another in enumerate(other, 1):
            row.append(min(row[-1] + 1, rows[-1][j] + 1, rows[-1][j - 1] + (sign != another)))
            if i > 1 and j > 1 and sign == other[j - 2] and one[i - 2] == another:
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
