"""Prompts are understood as their writers meant, language models that wrote four lists without knowing the lexicon.

Columns: language, kind, prompt, answer, split.  The lexicon was made with the splits dev and dev2 in view; of held and
held2 only totals were looked at.  A third list (dev3 and held3) and a fourth (dev4 and held4) were tried when all was
done, and then their parts in view were used to mend what they showed.  The list "own" was written by the lexicon's
makers, to find gaps in it.  The shares below are a little under what was reached (docs/prompts.md has the table).
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from models.words.wish import Wish, understand_wish

HERE = Path(__file__).parent
WITHOUT_TRAINED = ("shadow", "inpainting")
"""No bundle of the lists' time repaired these, so the lists call them unknown."""
LEAST = {"dev": 0.98, "held": 0.97, "dev2": 0.98, "held2": 0.82, "dev3": 0.98, "held3": 0.91, "dev4": 0.98,
         "held4": 0.93, "own": 0.96}  # fmt: skip
LEAST_BY_KIND = {
    "held": {"plain": 0.95, "statement": 0.93, "several": 0.9, "negation": 0.9, "nothing": 1.0, "auto": 0.93,
             "impossible": 0.96, "typo": 0.88, "long": 0.86, "scope": 0.83},
    "held2": {"several": 0.8, "negation": 0.57, "nothing": 0.85, "auto": 0.8, "impossible": 0.88, "typo": 0.75,
              "long": 0.62, "scope": 0.88},
    "held3": {"plain": 1.0, "statement": 0.8, "several": 0.85, "negation": 1.0, "nothing": 1.0, "auto": 1.0,
              "impossible": 1.0, "typo": 0.9, "long": 0.65, "scope": 1.0},
    "held4": {"plain": 0.89, "statement": 0.9, "several": 0.97, "negation": 0.83, "nothing": 0.95, "auto": 0.95,
              "impossible": 1.0, "typo": 0.88, "long": 0.72, "scope": 0.94},
}  # fmt: skip
LEAST_BY_LANGUAGE = {"held": 0.85, "held2": 0.55, "held3": 0.8, "held4": 0.84}
MOST_WRONG_REPAIRS = {
    "dev": 0,
    "held": 0,
    "dev2": 0,
    "held2": 4,
    "dev3": 0,
    "held3": 0,
    "dev4": 0,
    "held4": 1,
    "own": 9,
}
"""Prompts that ask for nothing, or for what nobody can do, and get a repair all the same."""


@cache
def rows(split: str) -> list[tuple[str, str, str, str]]:
    lines = [
        line
        for name in ("phrases.tsv", "second.tsv", "third.tsv", "fourth.tsv", "own.tsv")
        for line in (HERE / name).read_text("utf-8").splitlines()
    ]
    found = [tuple(line.split("\t")) for line in lines]
    return [(language, kind, prompt, answer) for language, kind, prompt, answer, where in found if where == split]


def answered(wish: Wish) -> str:
    """Returns a wish in the lists' words: "noise,blur", "auto-rain", "nothing", "unknown"."""
    if wish.answer == "repairs":
        return ",".join(name for name in wish.repairs if name not in WITHOUT_TRAINED) or "unknown"
    return "-".join(("auto", *wish.kept)) if wish.answer == "auto" else wish.answer


@cache
def results(split: str) -> list[tuple[str, str, str, str]]:
    """Returns language, kind, wanted and given answer of each prompt."""
    return [
        (language, kind, answer, answered(understand_wish(prompt))) for language, kind, prompt, answer in rows(split)
    ]


def shares(split: str, column: int) -> Iterator[tuple[str, float]]:
    total = Counter(row[column] for row in results(split))
    right = Counter(row[column] for row in results(split) if row[2] == row[3])
    return ((key, right[key] / total[key]) for key in total)


@pytest.mark.parametrize("split", LEAST)
def test_prompts_are_understood_as_they_were_meant(split):
    right = sum(wanted == given for _, _, wanted, given in results(split))
    assert len(results(split)) > 100
    assert right / len(results(split)) >= LEAST[split]


@pytest.mark.parametrize("split", LEAST_BY_KIND)
def test_every_kind_of_prompt_is_understood(split):
    assert {kind for kind, share in shares(split, 1) if share < LEAST_BY_KIND[split][kind]} == set()


@pytest.mark.parametrize("split", LEAST_BY_LANGUAGE)
def test_every_language_is_understood(split):
    found = dict(shares(split, 0))
    assert set(found) == {"en", "de", "fr", "es", "pt", "it", "zh", "ja", "ko", "ru"}
    assert {language for language, share in found.items() if share < LEAST_BY_LANGUAGE[split]} == set()


@pytest.mark.parametrize("split", MOST_WRONG_REPAIRS)
def test_who_wants_nothing_or_the_impossible_gets_no_repair(split):
    harmless = ("nothing", "unknown")
    wrong = [row for row in results(split) if row[2] in harmless and row[3] not in harmless]
    assert len(wrong) <= MOST_WRONG_REPAIRS[split]
