"""Understands what a user wishes in words: repairs in order, no repair at all, or the service's own choice.

A prompt is cut into clauses at punctuation and at words like "but".  Within a clause, a degradation that is named is
wished away, unless the clause says to keep it, not to touch it, or that it is not there.  Orders ("remove the rain")
count more than complaints ("too dark"), these more than statements, and mentions ("on a rainy day") least; where
something is asked for that is no repair, only orders count.  The language is the one whose lexicon covers most of the
prompt.  Torch-free, so that a service can refuse what nobody can do before it queues a job.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from models.words.clauses import Clause, clauses, strange
from models.words.lexicon import Language, Match, languages_of
from models.words.order import in_order, with_references
from models.words.readings import (
    ATTRIBUTE,
    COMPLAINT,
    FEW,
    MENTION,
    ORDER,
    STATEMENT,
    Reading,
    is_about_an_object,
    read,
    with_lists,
)
from models.words.text import normalized, with_names_marked
from models.words.typos import corrected

Answer = Literal["repairs", "nothing", "auto", "unknown"]
ORDERS = ("remove", "auto", "hate", "keep", "nothing", "make")
FILLER_WEIGHT = 0.7
"""How much an unspecific word ("the") tells of the language, against a word for damage."""
PHOTO_FAULTS = frozenset({"blur", "jpeg", "low-light", "low-resolution", "noise"})
"""What is wrong with a photo, and not with the weather."""
CONTENT = ("allgood", "ask", "dont", "keep", "like", "nothing")
"""Who says one of these in a story may like the photo as it is."""
FAREWELL = 40
"""What follows the last sentence that tells something is no longer than "With kind regards" and a name."""
MENDED = 2
"""A word that had to be mended tells less of the language, by so many letters."""
MANY = 3
"""More unknown words than these tell a story."""
LIKELY, RIVALS = 0.4, 4
"""Typing errors are mended in at most so many languages that cover so much of what the best one covers."""


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


def understand_wish(prompt: str, extra: Sequence[str] = ()) -> Wish:
    """Returns what a prompt asks for, in any language of the lexicon.

    Args:
        prompt: anything a user writes.
        extra: names of learned degradations, such as "banding", which are looked for literally.
    """
    text, language, found = _best(normalized(with_names_marked(prompt)), extra)
    if not any(match.names != {"filler"} for match in found):
        return Wish(answer="unknown", ignored=tuple(word for _, word in strange(text, [], language.spaced)))
    left = tuple(word for _, word in strange(text, found, language.spaced))
    wish = _decide(clauses(text, with_references(found), language), text, len(left))
    return replace(wish, language=language.code, ignored=left)


def _best(text: str, extra: Sequence[str]) -> tuple[str, Language, list[Match]]:
    """Returns the text with its typing errors mended, the language that covers most of it, and what that finds there.

    Where two languages cover the same, it is the first; typing errors are mended in the words of the likely ones.
    """
    readings = [(text, language, _with_extra(text, language.matches(text), extra)) for language in languages_of(text)]
    readings.sort(key=lambda reading: -_covered(reading[2]))
    likely = [reading for reading in readings if _covered(reading[2]) >= LIKELY * _covered(readings[0][2])][:RIVALS]
    if not any(match.names != {"filler"} for match in likely[0][2]):
        likely = readings
    mended = [(corrected(text, language, found), language) for _, language, found in likely]
    likely = [
        (done, language, _with_extra(done, language.matches(done), extra)) if done != text else reading
        for (done, language), reading in zip(mended, likely, strict=True)
    ]
    return max(likely, key=lambda reading: _covered(reading[2]) - MENDED * _changes(text, reading[0]))


def _changes(text: str, done: str) -> int:
    """Returns how many words of a text were mended."""
    return sum(one != other for one, other in zip(text.split(), done.split(), strict=False)) if done != text else 0


def _covered(found: Sequence[Match]) -> float:
    return sum((match.end - match.start) * (FILLER_WEIGHT if match.names == {"filler"} else 1) for match in found)


def _with_extra(text: str, found: list[Match], extra: Sequence[str]) -> list[Match]:
    """Returns the matches with those of a bundle's own words, which win over the lexicon's."""
    for name in extra:
        words = r"[\s_-]*".join(map(re.escape, normalized(name).split("-")))
        for at in re.finditer(rf"(?<![a-z0-9]){words}(?![a-z0-9])", text):
            found = [match for match in found if match.end <= at.start() or match.start >= at.end()]
            found.append(Match(kind="damage", names=frozenset({name}), start=at.start(), end=at.end()))
    return sorted(found, key=lambda match: match.start) if extra else found


def _decide(parts: Sequence[Clause], text: str, left: int) -> Wish:
    _mark_questions(parts)
    _mark_contentment(parts)
    grouped = with_lists([read(part, text) for part in parts], parts)
    _resolve(grouped, parts)
    if any(part.has("only") for part in parts):  # "no sharpness, only make it larger"
        for part, group in zip(parts, grouped, strict=True):
            group[:] = [replace(r, wanted=False) if r.kind == "quality" and part.has("no") else r for r in group]
    readings = in_order(grouped, parts, text)
    impossible = any(_is_impossible(part, text) for part in parts)
    refused = any(part.has("dont", "not") and part.has("touch", "auto", "remove", "make") for part in parts)
    nothing = any(part.has("nothing") and not part.has("see") for part in parts)
    just = any(part.has("only") and r.level == ORDER for part, group in zip(parts, grouped, strict=True) for r in group)
    wanted = _chosen(readings, impossible, nothing, ORDER if just else COMPLAINT)
    orders = {r.name for r in wanted if r.kind == "repair" or r.level == ORDER}
    kept = tuple(dict.fromkeys(r.name for r in readings if r.wanted is False and r.name not in orders))
    repairs = tuple(dict.fromkeys(reading.name for reading in wanted if reading.name not in kept))
    level = max((reading.level for reading in wanted), default=MENTION)
    asked = level <= STATEMENT and any(part.has("ask") for part in parts)
    general = any(
        part.has("except")
        or (
            (part.has("auto") or _is_for_the_photo(part))
            and (part.has("photo", "scene") or not part.has("object"))
            and not part.terms
            and not part.negates
            and not part.has("ask")
        )
        for part in parts
    )
    if (
        repairs
        and not (level <= MENTION and (general or left > FEW))
        and not (level < ORDER and _is_story(parts, left) and not _is_fault_of_photo(wanted, parts, text))
        and not asked
    ):
        sure = (0.5, 0.7, 0.85, 0.95)[max(level, MENTION)] - 0.02 * min(left, 10)
        return Wish(answer="repairs", repairs=repairs, kept=kept, sure=round(sure, 2))
    firm = any(part.has("nothing") and not part.terms for part in parts)
    if nothing and (firm or not (general and kept)):
        return Wish(answer="nothing", kept=kept, sure=0.95)
    if impossible:
        return Wish(answer="unknown", kept=kept, sure=0.8)
    if general:
        return Wish(answer="auto", kept=kept, sure=0.8)
    if any(part.has("ask") for part in parts):
        return Wish(answer="unknown", kept=kept, sure=0.8)
    if kept or refused:
        return Wish(answer="nothing", kept=kept, sure=0.8)
    return Wish(answer="unknown", kept=kept, sure=0.3)


def _is_story(parts: Sequence[Clause], left: int) -> bool:
    """Returns whether a prompt without orders tells a story: many unknown words, or no photo in several sentences."""
    several = parts[-1].sentence > 0 and not any(part.has("photo", *ORDERS) for part in parts)
    return left > (FEW if several else MANY)


def _is_fault_of_photo(wanted: Sequence[Reading], parts: Sequence[Clause], text: str) -> bool:
    """Returns whether a story of a photo ends with what only photos have: "so I ran, and it's all blurred"."""
    faults = all(reading.name in PHOTO_FAULTS and reading.level >= COMPLAINT for reading in wanted)
    ends = max(reading.sentence for reading in wanted) == parts[-1].sentence
    rest = re.split(r"[.!?\n\u3002\uff01\uff1f]\s*", text[parts[-1].found[-1].end :], maxsplit=1)[1:]
    if not (faults and ends) or len("".join(rest)) > FAREWELL:
        return False
    english = parts[0].compounds and not parts[0].head_last  # its words are also said of streets, beds and hearts
    return not english and any(p.has("photo") for p in parts) and not any(p.has(*CONTENT) for p in parts)


def _chosen(readings: Sequence[Reading], impossible: bool, nothing: bool, beside: int) -> list[Reading]:
    """Returns what is wished away most plainly, in the user's order, and what is at least `beside` in its sentence."""
    wanted = [reading for reading in readings if reading.wanted]
    level = max((reading.level for reading in wanted), default=MENTION)
    if level < (ORDER if nothing else COMPLAINT if impossible else ATTRIBUTE):
        return []
    sentences = {reading.sentence for reading in wanted if reading.level == level}
    return [r for r in wanted if r.level == level or (r.level >= beside and r.sentence in sentences)]


def _mark_questions(parts: Sequence[Clause]) -> None:
    """Gives the role "ask" to the clauses of a question that orders nothing: "is this noisy?"."""
    for sentence in {part.sentence for part in parts}:
        members = [part for part in parts if part.sentence == sentence]
        orders = any(_orders(part) for part in members)
        for part in members:
            others = [member for member in members if member is not part]
            inverted = part.has("inverted") and (part.asked or (part is parts[0] and "inverted" in part.found[0].names))
            asks = (part.has("ask") or inverted) and not any(
                _orders(member) for member in others if not member.has("ask")
            )
            asks = asks or (members[-1].asked and not orders)
            part.roles = (part.roles | {"ask"}) if asks else part.roles - {"ask"}


def _mark_contentment(parts: Sequence[Clause]) -> None:
    """Gives the role "allgood" to the exceptions that follow it: "everything is fine, except for the noise"."""
    for before, part in itertools.pairwise(parts):
        if part.has("except") and before.has("allgood"):
            part.roles |= {"allgood"}


def _orders(part: Clause) -> bool:
    repairs = any(term.is_repair for term in part.terms)
    return repairs or part.has(*ORDERS)


def _resolve(grouped: list[list[Reading]], parts: Sequence[Clause]) -> None:
    """Applies orders without an object ("can you take that out?", "leave it in") to what was named before them."""
    last: int | None = None
    for index, part in enumerate(parts):
        if part.terms:
            last = index
        elif last is not None and part.sentence - parts[last].sentence <= 1:
            _apply(part, last, grouped, parts, parts[index + 1] if index + 1 < len(parts) else None)


def _apply(
    part: Clause, last: int, grouped: list[list[Reading]], parts: Sequence[Clause], after: Clause | None
) -> None:
    """Applies one such order to the readings of the clause before it that names something."""
    previous = parts[max(parts.index(part) - 1, 0)]
    if part.roles and part.roles <= {"no", "yes"} and not (part.strange or part.joined):  # "sharpening: no"
        grouped[last] = [replace(r, wanted=part.has("yes"), level=ORDER) for r in grouped[last]]
    elif part.has("show") or (part.has("see") and part.has("want", "hope") and not part.negates):
        if not part.has("cannot", "ask", "add", "opposite"):  # "I'd love to see the mountains"
            grouped[last] = [replace(r, level=ORDER) if r.wanted and r.level >= STATEMENT else r for r in grouped[last]]
    elif part.has("object", "cannot", "ask", "see"):
        return
    elif part.has("rest") or (previous.has("rest") and not previous.terms and previous.sentence == part.sentence):
        return  # "keep the grain, for the rest do what you like"
    elif _keeps(part):
        grouped[last] = [replace(r, wanted=False) if r.level < ORDER else r for r in grouped[last]]
    elif part.has("remove", "hate", "auto") and not part.negates and len(part.strange) <= 1:
        if after and after.has("only") and after.terms and after.sentence == part.sentence and not after.joined:
            return  # "remove only the noise"
        if parts[last].has("ask") and part.has("remove"):
            grouped[last] = [replace(r, wanted=True) for r in grouped[last]]
        grouped[last] = _promoted(grouped[last], part)
        while last and parts[last].joined and parts[last - 1].bare:
            last -= 1
            grouped[last] = _promoted(grouped[last], part)


def _keeps(part: Clause) -> bool:
    if part.negates:
        return part.has("touch", "remove") and not part.has("keep", "like")
    return part.has("keep", "nothing", "like") and not part.has("auto")


def _promoted(readings: list[Reading], part: Clause) -> list[Reading]:
    """Returns the readings as orders; a word like "improve" makes orders of complaints only."""
    least = MENTION if part.has("remove", "hate") else COMPLAINT
    return [replace(r, level=ORDER, wanted=True) if _is_meant(r, readings, part, least) else r for r in readings]


def _is_meant(reading: Reading, readings: Sequence[Reading], part: Clause, least: int) -> bool:
    """Returns whether an order is about this reading: one that is wished away, or "keep those, remove these"."""
    others = part.joined and all(r.wanted is False for r in readings) and reading.kind == "damage"
    return part.has("ones") or bool(others) or (bool(reading.wanted) and least <= reading.level)


def _is_for_the_photo(part: Clause) -> bool:
    """Returns whether a clause asks to work on the photo itself: "take care of this picture"."""
    return part.has("remove") and part.has("photo") and not part.has("object", "cannot", "from") and not part.strange


def _is_impossible(part: Clause, text: str) -> bool:
    if part.negates or part.has("nothing"):
        return False
    if part.has("see", "unseen") and not part.has("remove", "make", "add"):  # "one hardly sees her smile"
        return False
    if part.has("cannot", "opposite") or (part.has("add") and not part.adds) or is_about_an_object(part, text):
        return True
    return part.has("remove") and not part.has("auto") and not part.terms and len(part.strange) > 0
