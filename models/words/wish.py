"""Understands what a user wishes in words: repairs in order, no repair at all, or the service's own choice.

A prompt is cut into parts at punctuation and at words like "but".  Within a part, a degradation that is named is wished
away, unless the part says to keep it, not to touch it, or that it is not there.  The language is the one whose lexicon
covers most of the prompt.  Torch-free, so that a service can refuse what nobody can do before it queues a job.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from models.words.lexicon import Language, Match, languages, normalized
from models.words.typos import corrected

Answer = Literal["repairs", "nothing", "auto", "unknown"]
SPLITS = frozenset({"but", "without", "dont", "then", "and", "except", "instead", "after"})
"""Roles of words that begin a new part; where they follow what they are about, a word that "ends" a part does."""
JOINS = frozenset({"and", "too", "be"})
"""A part with only these is the next of a list."""
TERMS = ("damage", "state", "repair")
ENDS = r"[.,;:!?\n()\u3002\u3001\uff0c\uff1b\uff1a\uff01\uff1f\u2026\u2014\u2013/&+]+"
"""Where a part ends; a hyphen does not count."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a prompt asks for.

    Attributes:
        answer: "repairs": these, in order; "nothing": the photo as it is; "auto": what the service finds; "unknown".
        repairs: names of degradations, in the user's order, without repetitions.
        kept: names of degradations that the user wants left alone.
        language: two letters; "" where no word was known.
        sure: how sure the answer is, in [0, 1].  "unknown" with 0: no word was known; "unknown" with more: the prompt
            asks for something that is no repair.
        ignored: words of the prompt that had no part in the reading, in their order.
    """

    answer: Answer
    repairs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    language: str = ""
    sure: float = 0.0
    ignored: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Part:
    """A part of the prompt: its matches, its text, and whether a comma or "and" joins it to the part before."""

    found: list[Match]
    joined: bool = False
    roles: frozenset[str] = frozenset()

    def settled(self) -> "_Part":
        roles = (match.names for match in self.found if match.kind == "word")
        return _Part(found=self.found, joined=self.joined, roles=frozenset().union(*roles))

    @property
    def terms(self) -> list[Match]:
        return [match for match in self.found if match.kind in TERMS]

    def has(self, *roles: str) -> bool:
        return bool(self.roles & set(roles))


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """One term's part in the wish.

    Attributes:
        wanted: True: repair it; False: leave it alone; None: it is not about a repair ("add some fog").
        sure: 2 an order ("remove the rain"), 1 a statement ("it is rainy"), 0 a mere mention ("a rainy day").
        first: the user wants it before what was named earlier.
    """

    name: str
    kind: str
    wanted: bool | None
    sure: int
    first: bool = False


def understand_wish(prompt: str, extra: Sequence[str] = ()) -> Wish:
    """Returns what a prompt asks for, in any language of the lexicon.

    Args:
        prompt: anything a user writes.
        extra: names of learned degradations, such as "banding", which are looked for literally.
    """
    text = normalized(prompt)
    wish = _understood(text)
    if wish.answer != "unknown":
        return wish
    mended = corrected(text)
    return wish if mended == text else _understood(mended)


def _understood(text: str) -> Wish:
    language, found = _best(text)
    return _decide(_parts(text, found, language.spaced), text, language.code) if found else Wish(answer="unknown")


def _best(text: str) -> tuple[Language, list[Match]]:
    """Returns the language that covers most of the text, and what it finds; the first where none is better."""
    readings = [(language, language.matches(text)) for language in languages()]
    return max(readings, key=lambda reading: sum(match.end - match.start for match in reading[1]))


def _parts(text: str, found: Sequence[Match], spaced: bool) -> list[_Part]:
    """Cuts the matches into parts, at punctuation and at the words that begin a new part."""
    parts: list[_Part] = [_Part(found=[])]
    position = 0
    for match in found:
        between = text[position : match.start]
        position = match.end
        splits = match.kind == "word" and bool(match.names & (SPLITS if spaced else SPLITS - {"except", "without", "dont"}))
        ended = bool(parts[-1].found) and "ends" in parts[-1].found[-1].names
        if re.search(ENDS, between) or splits or ended:
            comma = re.search(r"[,\u3001\uff0c/&+]", between) is not None and not re.search(r"[.!?;:\n]", between)
            parts.append(_Part(found=[], joined="and" in match.names or (comma and not splits and not ended)))
        elif parts[-1].found and "and" in parts[-1].found[-1].names and len(parts[-1].found) == 1:
            parts[-1].joined = True
        parts[-1].found.append(match)
    return [part.settled() for part in parts if part.found]


def _decide(parts: Sequence[_Part], text: str, language: str) -> Wish:
    readings: list[_Reading] = []
    before: list[_Reading] = []
    for part in parts:
        now = _inherited(part, before) or _readings(part, text)
        readings += now
        contrast = _negates(part) and not part.has("dont", "keep", "touch", "remove")  # "not the rain, the snow"
        before = ([] if contrast else now) or (before if part.roles <= JOINS else [])
    wanted = [reading for reading in readings if reading.wanted]
    surest = max((reading.sure for reading in wanted), default=0)
    wanted = [reading for reading in wanted if reading.sure == surest]
    wanted.sort(key=lambda reading: not reading.first)
    orders = {reading.name for reading in wanted if reading.kind == "repair"}
    kept = tuple(dict.fromkeys(r.name for r in readings if r.wanted is False and r.name not in orders))
    repairs = tuple(dict.fromkeys(reading.name for reading in wanted if reading.name not in kept))
    if repairs:
        return Wish(answer="repairs", repairs=repairs, kept=kept, language=language)
    return Wish(answer=_without_repairs(parts, kept, readings), kept=kept, language=language)


def _without_repairs(parts: Sequence[_Part], kept: Sequence[str], readings: Sequence[_Reading]) -> Answer:
    """Returns the answer where no degradation is wished away."""
    impossible = any(part.has("cannot", "opposite", "add") for part in parts)
    general = any(part.has("except") or (part.has("auto") and not part.terms and not _negates(part)) for part in parts)
    if any(part.has("nothing") for part in parts) and not (general and kept):
        return "nothing"
    if impossible:
        return "unknown"
    if general:
        return "auto"
    refused = any(_negates(part) and part.has("touch", "auto", "remove") for part in parts)
    return "nothing" if kept or refused else "unknown"


def _negates(part: _Part) -> bool:
    return part.has("not", "dont", "without", "no")


def _inherited(part: _Part, before: Sequence[_Reading]) -> list[_Reading]:
    """Returns the readings of a bare list's next part ("blur", "or rain"), which are as the part before says."""
    bare = part.roles <= JOINS and all(match.kind in ("damage", "state") for match in part.terms)
    if not (part.joined and bare and before):
        return []
    last = before[-1]
    return [_Reading(name=term.name, kind=term.kind, wanted=last.wanted, sure=last.sure) for term in part.terms]


def _readings(part: _Part, text: str) -> list[_Reading]:
    return [
        _Reading(
            name=term.name, kind=term.kind, wanted=_is_wanted(term, part), sure=_sureness(term, part, text),
            first=part.has("first", "after"),
        )
        for term in part.terms
    ]  # fmt: skip


def _is_wanted(term: Match, part: _Part) -> bool | None:
    """Returns whether the part wishes a term away (or a repair done); see the class above."""
    negated = _negates(part)
    if part.has("except", "instead", "nothing"):
        return False
    if part.has("bother"):
        return not negated
    if part.has("opposite", "add"):
        return False if negated else None
    if part.has("keep", "like") and not negated:
        return False
    if term.kind == "repair":
        return not negated
    if not negated or part.has("want", "like"):
        return True
    if part.has("keep"):
        return True
    if part.has("remove", "touch", "auto"):
        return False
    if part.has("no", "without"):
        return not part.has("be")
    return False


def _sureness(term: Match, part: _Part, text: str) -> int:
    """Returns how sure it is that a term is wished away; a property right before its thing is a mere mention."""
    if term.kind == "repair":
        return 2
    if part.has("cannot") and not part.has("remove"):
        return 0
    index = part.found.index(term)
    after = part.found[index + 1] if index + 1 < len(part.found) else None
    before = part.found[index - 1] if index else None
    if after is not None and after.kind == "word" and "scene" in after.names and after.start - term.end <= 2:
        return 0
    told = before is not None and before.kind == "word" and before.names & {"be", "too"}
    rest = text[term.end : after.start if after else len(text)]
    if term.kind == "state" and not told and re.match(r"\s[^\W\d_]{2,}", rest):
        return 0
    return 2 if part.has("remove", "want", "without", "no") else 1
