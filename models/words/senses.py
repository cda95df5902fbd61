"""Settles words of several senses by what stands beside them: "e" is "and" or "is", "bien" is "fine" or "very"."""

import re
from collections.abc import Sequence
from dataclasses import replace

from models.words.lexicon import Language, Match

E_IS_AND = ("it", "pt")
VERY = {"es": "bien", "fr": "bien", "pt": "bem"}
"""The word for "well" that also means "very": "is fine" and "is very" differ only in what follows."""
VERBS = frozenset({"remove", "keep", "make", "dont", "only"})
JOINTS = frozenset({"and", "without"})
STRENGTH = frozenset({"too", "alas"})
FILLER, AND = frozenset({"filler"}), frozenset({"and"})


def in_context(found: Sequence[Match], text: str, language: Language) -> list[Match]:
    """Returns the matches, those with several senses with the one that fits what stands before and after them."""
    done = list(found)
    for index, match in enumerate(done):
        if match.kind != "word":
            continue
        after = done[index + 1] if index + 1 < len(done) else None
        near = after if after and not text[match.end : after.start].strip(" -") else None
        names = match.names
        if {"cannot", "make"} <= names:  # "make him sharp", but not "make him smile"
            names -= {"cannot"} if near and near.kind in ("good", "repair") else {"make"}
        elif "like" in names and re.match(r"\s*\d", text[match.end :]):  # "like 120 pixels"
            names = FILLER
        elif language.code in E_IS_AND and text[match.start : match.end] == "e" and after:
            names = _of_e(names, done, index, text)
        elif near and near.kind in ("state", "good") and _is_very(match, text, language):
            names = frozenset({"be", "too"})
        if names != match.names:
            done[index] = replace(match, names=names)
    return done


def _is_very(match: Match, text: str, language: Language) -> bool:
    very = VERY.get(language.code)
    return very is not None and "keep" in match.names and text[match.start : match.end].endswith(f" {very}")


def _of_e(names: frozenset[str], found: Sequence[Match], index: int, text: str) -> frozenset[str]:
    """Returns the names of "e": "and" before a verb or between two faults, "is" elsewhere."""
    match, after = found[index], found[index + 1]
    if not text[match.end : after.start].strip():
        if after.names & VERBS:
            return AND
        if after.names & JOINTS:  # "and with" splits by itself
            return FILLER
    before = next((other for other in reversed(found[:index]) if other.names != FILLER), None)
    if before is None or not before.is_term or re.search(r"[^\w\s']", text[before.end : match.start]):
        return names
    rest = [other for other in found[index + 1 :] if other.names != FILLER]
    strong = bool(rest) and rest[0].kind == "word" and rest[0].names <= STRENGTH
    following = rest[1] if strong and len(rest) > 1 else rest[0] if rest else None
    if following is None or not following.is_term or re.search(r"[^\w\s']", text[match.end : following.start]):
        return names
    return AND if before.kind == "state" or not strong else names
