"""Mends typing errors in prompts: a word that is one slip away from a word of the lexicon becomes that word."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from models.words.lexicon import NOUNS_WITH_CAPITALS, Language, Match, language_of
from models.words.sounds import sound
from models.words.text import NAME

SHORTEST = 4
"""Shorter words are too like others: fog, dog."""
LONG = 10
"""Two slips are allowed from this length on."""
SURE = 6
"""From this length on a wrong letter is a typing error, and not another word."""
MANY = 40
"""In a prompt of more words, a story, typing errors do not hide the wish, and strange words are just words."""
SYLLABLES = 2
FAR = 6
"""What differs in so many letters is another word."""


def corrected(text: str, language: Language, found: Sequence[Match]) -> str:
    """Returns a normalized text in which strange words that are nearly words of the language are mended.

    The first letter must be right ("train" is not "rain") or swapped with the second.  Words of four letters may
    only have two letters swapped, or one doubled.
    """
    if len(text.split()) > MANY or not (language.spaced or language.code == "ko"):
        return text
    covered = {position for match in found for position in range(match.start, match.end)}

    def _is_name(start: int) -> bool:
        return text[start - 1 : start] == NAME and language.code not in NOUNS_WITH_CAPITALS

    def mend(at: re.Match[str]) -> str:
        if covered.intersection(range(at.start(), at.end())) or _is_name(at.start()):
            return at[0]
        return _mended_syllables(at[0]) if language.code == "ko" else _mended(at[0], language.code)

    return re.sub(r"[^\W\d_]+", mend, text)


_Known = tuple[str, str, str]
"""A word with a part of its beginning and of its end: one slip leaves one of them as it was."""


@cache
def _known(code: str) -> dict[str, list[_Known]]:
    """Returns the words of a language that are long enough, by their first letter."""
    index: dict[str, list[_Known]] = {}
    for word in _words(code):
        stem = word.rstrip("*")
        if len(word.strip("*")) >= SHORTEST and word[0] != "*":
            half = len(stem) // 2
            start, end = ("", "") if len(stem) >= LONG else (stem[: half - 1], stem[half:])
            index.setdefault(word[0], []).append((word, start, end))
    return index


@cache
def _words(code: str) -> frozenset[str]:
    return language_of(code).words


@cache
def _mended(word: str, code: str) -> str:
    if len(word) < SHORTEST:
        return word
    single = re.sub(r"(.)\1+", r"\1", word)
    if single in _words(code):
        return single
    heard = _heard(word, code)
    if heard:
        return heard
    near = [
        mend
        for first in {word[0], word[1]}
        for known, start, end in _known(code).get(first, ())
        if (end in word or word.startswith(start))
        and (first == word[0] or known[:2] == word[1] + word[0])
        and (mend := _slip(word, known))
    ]
    return min(near, key=lambda mend: (mend[0], -len(mend[1]), mend[1]))[1] if near else word


def _heard(word: str, code: str) -> str:
    """Returns the word of the lexicon that sounds like this one, with its ending; "" if none does."""
    heard, index = sound(word, code), _sounds(code)
    whole = index.get(heard, "")
    if whole:
        return whole.rstrip("*")
    for length in range(len(heard) - 1, SURE - 1, -1):
        stem = index.get(heard[:length], "")
        if stem.endswith("*"):
            return stem[:-1] + heard[length:]
    return ""


@cache
def _sounds(code: str) -> dict[str, str]:
    """Returns the words of a language by their sound, without those that sound like others."""
    index: dict[str, str] = {}
    for word in sorted(_words(code)):
        heard = sound(word.rstrip("*"), code)
        if len(word.strip("*")) > SHORTEST and len(heard) >= SHORTEST and word[0] != "*":
            index[heard] = word if heard not in index else ""
    return index


def _slip(word: str, pattern: str) -> tuple[int, str] | None:
    """Returns the number of slips and the word as meant; None if it is too far from the pattern."""
    stem = pattern.rstrip("*")
    if len(word) < len(stem) - 2 or (stem == pattern and len(word) > len(stem) + 2):
        return None
    lengths = range(len(stem) - 1, len(stem) + 2) if pattern != stem else [len(word)]
    most = 2 if len(stem) >= LONG else 1
    found = [(slips(word[:length], stem, most), stem + word[length:]) for length in lengths if length <= len(word)]
    count, meant = min(found, default=(LONG, ""))
    if len(stem) == SHORTEST:
        start = word[: len(stem) + 1]
        swapped = sorted(word[: len(stem)]) == sorted(stem)
        doubled = len(start) > SHORTEST and set(start) == set(stem)
        return (count, meant) if count == 1 and (swapped or doubled) else None
    if len(stem) < SURE and count == 1 and _is_replaced(word, stem):
        return None
    return (count, meant) if count <= most else None


def _is_replaced(word: str, stem: str) -> bool:
    """Returns whether one letter stands for another, which makes other words of short ones: "rain", "ruin"."""
    start = word[: len(stem)]
    return len(start) == len(stem) and sum(one != other for one, other in zip(start, stem, strict=True)) == 1


@cache
def _mended_syllables(word: str) -> str:
    """Returns a Korean word whose beginning is one letter off a word of the lexicon as that word."""
    for pattern, letters in _korean().get(unicodedata.normalize("NFD", word[0])[0], ()):
        start = unicodedata.normalize("NFD", word[: len(pattern)])
        if len(word) >= len(pattern) and abs(len(start) - len(letters)) <= 1 and slips(start, letters, 1) == 1:
            return pattern + word[len(pattern) :]
    return word


@cache
def _korean() -> dict[str, list[tuple[str, str]]]:
    """Returns the Korean words of two syllables and more, and their letters, by the first letter, the longest first."""
    index: dict[str, list[tuple[str, str]]] = {}
    for word in sorted(_words("ko"), key=len, reverse=True):
        if len(word) >= SYLLABLES and not word.isascii() and word[0] != "^":
            letters = unicodedata.normalize("NFD", word)
            index.setdefault(letters[0], []).append((word, letters))
    return index


def slips(one: str, other: str, most: int = 2) -> int:
    """Returns the distance in insertions, deletions, replacements and swaps of neighbors (optimal string alignment).

    Where there are clearly more than `most`, it is FAR.
    """
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[start:], other[start:]
    end = next((i for i, (a, b) in enumerate(zip(reversed(one), reversed(other), strict=False)) if a != b), None)
    end = min(len(one), len(other)) if end is None else end
    one, other = one[: len(one) - end], other[: len(other) - end]
    if not one or not other:
        return len(one) + len(other)
    if max(len(one), len(other)) > (2 if most == 1 else FAR):
        return FAR
    return _aligned(one, other)


def _aligned(one: str, other: str) -> int:
    rows = [list(range(len(other) + 1))]
    for i, sign in enumerate(one, 1):
        row = [i]
        for j, another in enumerate(other, 1):
            row.append(min(row[-1] + 1, rows[-1][j] + 1, rows[-1][j - 1] + (sign != another)))
            if i > 1 and j > 1 and sign == other[j - 2] and one[i - 2] == another:
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
