"""Cuts a prompt into clauses, at punctuation and at words like "but", and says what each consists of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.words.lexicon import Language, Match
from models.words.senses import in_context

SPLITS = frozenset({"but", "without", "dont", "then", "and", "except", "instead", "after", "last", "before"})
"""Roles of words that begin a new clause; where they follow what they are about, a word that "ends" a clause does."""
COMPOUNDING = ("en", "ja", "ko", "zh")
HEAD_LAST = ("ja", "ko", "zh")
ENDS = r"[.,;:!?\n()\u3002\u3001\uff0c\uff1b\uff1a\uff01\uff1f\u2026\u2014\u2013/&+\u00bf\u00a1]+|\s-+\s"
"""Where a clause ends; a hyphen within a word does not count."""
STOPS = re.compile(r"(?:[.!?\n\u3002\uff01\uff1f\u2026;](?!\d))+")
COMMAS = re.compile(r"[,\u3001\uff0c/&+]")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


@dataclass(kw_only=True)
class Clause:
    """A part of the prompt.

    Attributes:
        found: its terms and words with roles, from left to right.
        joined: "and", "comma", or "" for what joins it to the clause before.
        sentence: which sentence of the prompt it belongs to.
        asked: this sentence ends with a question mark.
        strange: its words that are not in the lexicon.
        head_last: the language puts what a phrase is about at its end: "person in the rain" in Japanese.
        compounds: the language puts nouns together without a word between them: "rain photo".
    """

    found: list[Match]
    joined: str = ""
    sentence: int = 0
    asked: bool = False
    strange: list[str] = field(default_factory=list)
    compounds: bool = False
    head_last: bool = False
    roles: frozenset[str] = frozenset()

    @property
    def terms(self) -> list[Match]:
        return [match for match in self.found if match.is_term]

    def has(self, *roles: str) -> bool:
        return bool(self.roles & set(roles))

    @property
    def negates(self) -> bool:
        return self.has("not", "dont", "without", "no") or (self.has("see") and self.has("nothing"))

    @property
    def adds(self) -> bool:
        """It asks for more of something that a repair gives: "add some light"."""
        return (
            self.has("add") and not self.has("opposite", "cannot") and bool(self.terms)
            and all(term.is_repair for term in self.terms)
        )  # fmt: skip

    @property
    def bare(self) -> bool:
        """It only names degradations, as the member of a list does."""
        return (
            bool(self.terms)
            and self.roles <= {"and", "scene", "photo"}
            and all(t.kind in ("damage", "state") for t in self.terms)
        )


def clauses(text: str, found: Sequence[Match], language: Language) -> list[Clause]:
    """Cuts the matches into clauses; clauses without a word of the lexicon are left out, except strange ones."""
    found = in_context(found, text, language)
    fillers = [match for match in found if match.names == {"filler"}]
    parts: list[Clause] = [Clause(found=[])]
    position = 0
    for match in (match for match in found if match.names != {"filler"}):
        between = text[position : match.start]
        position = match.end
        splitting = SPLITS if language.spaced else SPLITS - {"except", "without", "dont", "before", "after"}
        splits = not match.is_term and bool(match.names & splitting)
        ended = bool(parts[-1].found) and "ends" in parts[-1].found[-1].names
        stop = STOPS.search(between)
        if re.search(ENDS, between) or splits or ended:
            comma = COMMAS.search(between) is not None and not stop and not re.search("[:;]", between)
            joined = "and" if "and" in match.names else "comma" if comma and not splits and not ended else ""
            new = Clause(found=[], joined=joined, sentence=parts[-1].sentence + bool(stop))
            parts.append(new)
        elif parts[-1].found and "and" in parts[-1].found[-1].names and len(parts[-1].found) == 1:
            parts[-1].joined = "and"
        parts[-1].found.append(match)
    parts = [part for part in parts if part.found]
    _settle(parts, text, [*found, *fillers], language)
    return parts


def _settle(parts: Sequence[Clause], text: str, found: Sequence[Match], language: Language) -> None:
    """Fills in roles, questions and strange words."""
    for part in parts:
        part.compounds = language.code in COMPOUNDING
        part.head_last = language.code in HEAD_LAST
        part.roles = frozenset().union(*(match.names for match in part.found if match.kind == "word"))
        stop = STOPS.search(text, part.found[-1].end)
        part.asked = stop is not None and any(sign in stop[0] for sign in "?\uff1f")
    for start, word in strange(text, found, language.spaced):
        clause = _clause_at(parts, start, text)
        if clause:
            clause.strange.append(word)


def _clause_at(parts: Sequence[Clause], position: int, text: str) -> Clause | None:
    """Returns the clause that a word between two clauses belongs to; None if it is in a sentence of its own."""
    before = [part for part in parts if part.found[0].start <= position]
    after = parts[len(before) : len(before) + 1]
    if before:
        between = text[min(before[-1].found[-1].end, position) : position]
        if not re.search(ENDS, between):
            return before[-1]
    if after and not STOPS.search(text, position, after[0].found[0].start):
        return after[0]
    return before[-1] if before and not STOPS.search(between) else None


def strange(text: str, found: Sequence[Match], spaced: bool) -> list[tuple[int, str]]:
    """Returns the words (without spaces: two signs count as a word) that no match covers, and where they start."""
    covered = bytearray(len(text))
    for match in found:
        covered[match.start : match.end] = b"\1" * (match.end - match.start)
    if spaced:
        return [
            (at.start(), at[0])
            for at in _WORD.finditer(text)
            if len(at[0]) > 1 and not any(covered[at.start() : at.end()])
        ]
    left = "".join(" " if covered[index] else sign for index, sign in enumerate(text))
    return [(at.start(), at[0]) for at in re.finditer(r"[^\W\d_]{2}|[a-z]{3,}", left)]
