"""Says for each degradation that a clause names whether the user wants it away, and how plainly that is said."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.words.clauses import Clause
from models.words.lexicon import Match

ORDER, COMPLAINT, STATEMENT, MENTION, ATTRIBUTE = 3, 2, 1, 0, -1
"""How plainly: "remove the rain", "too much rain", "it is rainy", "we met in the rain", "on a rainy day"."""
SHORT = 60
"""In a longer prompt "without noise" tells how it is, and not how it shall be."""
FEW = 2
"""A clause with more words that are not in the lexicon tells something else: what it names is a mere mention."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One term's part in the wish.

    Attributes:
        wanted: True: repair it; False: leave it alone; None: it is not about a repair ("add some fog").
        level: one of the five above.
        place: -1 before what was named earlier, 1 after what is named later, else 0.
    """

    name: str
    kind: str
    wanted: bool | None
    level: int
    sentence: int
    place: int = 0


def read(clause: Clause, text: str) -> list[Reading]:
    """Returns the readings of a clause by itself; the text is the whole prompt, normalized."""
    elsewhere = is_about_an_object(clause, text)
    return [_read(term, clause, text, elsewhere) for term in clause.terms]


def _read(term: Match, clause: Clause, text: str, elsewhere: bool) -> Reading:
    wanted = None if elsewhere else _is_wanted(term, clause, text)
    place = -1 if clause.has("first") else 1 if clause.has("last") else 0
    level = _level(term, clause, text)
    return Reading(name=term.name, kind=term.kind, wanted=wanted, level=level, sentence=clause.sentence, place=place)


def is_about_an_object(clause: Clause, text: str) -> bool:
    """Returns whether a clause's order is about something that is no degradation: "remove the man in the rain"."""
    objects = [match for match in clause.found if match.kind == "word" and "object" in match.names]
    if not objects or clause.has("auto") or not clause.has("remove", "touch", "make", "hate", "cannot"):
        return False
    if _hides(clause):
        return False
    terms = [term for term in clause.terms if not _is_attribute(term, clause, text)]
    if not terms:
        return True
    if any(
        _follows_directly(term, object_, text) or _listed_together(term, object_, text)
        for term in terms
        for object_ in objects
    ):
        return False
    return objects[-1].start > terms[-1].start if clause.head_last else objects[0].start < terms[0].start


def _hides(clause: Clause) -> bool:
    """Returns whether a degradation hides something: "the snowflakes cover her face"."""
    hiding = [match for match in clause.found if match.kind == "word" and "hides" in match.names]
    return bool(hiding) and any(term.start < hiding[-1].start or clause.head_last for term in clause.terms)


def _listed_together(term: Match, object_: Match, text: str) -> bool:
    """Returns whether "and" stands between, in a language whose "and" begins no clause, as it sounds like "is"."""
    return re.search(r"\s(e|ed)\s", text[object_.end : term.start]) is not None


def _follows_directly(term: Match, other: Match, text: str) -> bool:
    return not term.is_repair and other.end <= term.start and not text[other.end : term.start].strip(" -")


def _is_wanted(term: Match, clause: Clause, text: str) -> bool | None:
    if clause.has("ask", "story"):
        return None
    if (clause.has("lack") or (clause.negates and clause.has("enough"))) and not clause.has("except", "keep"):
        return True if term.is_repair or term.kind == "good" else _is_damage_wanted(clause)
    if clause.has("except") and term.kind == "good":  # "anything but sharp"
        return True
    if clause.has("except") and clause.has("allgood"):  # "all is fine except the noise"
        return True
    if clause.has("except", "instead") or (clause.has("nothing") and not clause.has("see")):
        return False
    if clause.has("hate") or _is_in_the_way(term, clause) or _hides(clause):
        if term.kind == "good" and not clause.negates and any(other.kind != "good" for other in clause.terms):
            return None  # "the big drops ruin it"
        return not (clause.has("refuse") and (term.is_repair or term.kind == "good"))  # "I don't want it larger"
    if clause.has("bother"):
        return not clause.negates
    if clause.adds and term.is_repair:  # "add some sharpness"
        return not clause.negates
    if clause.has("opposite", "add"):
        return False if clause.negates else None
    if term.kind == "good":
        return _is_good_wanted(term, clause, text)
    if clause.has("keep", "like") and not (term.is_repair and clause.has("make")):
        return clause.negates
    if term.kind == "quality" and clause.has("no", "without") and not clause.has("make", "touch", "remove"):
        return True
    if term.kind == "quality" and clause.has("be") and not clause.has("make", "want", "remove", "touch"):
        return clause.negates or None  # "the light is good"
    if term.is_repair and any("cannot" in match.names and match.start > term.end for match in clause.found):
        return None  # "brighten her smile"
    if term.is_repair:
        return not clause.negates and not clause.has("halt")
    if (
        clause.has("make")
        and not clause.has("remove", "auto", "no", "without")
        and not _is_attribute(term, clause, text)
    ):
        repairs = any(other.is_repair or other.kind == "good" for other in clause.terms)
        return True if repairs else not clause.negates and None
    return _is_damage_wanted(clause)


def _is_in_the_way(term: Match, clause: Clause) -> bool:
    """Returns whether somebody cannot see, read or use something because of the term: "I can't see them for fog"."""
    return clause.has("see") and clause.negates and not clause.has("remove", "touch") and not term.is_repair


def _is_good_wanted(term: Match, clause: Clause, text: str) -> bool | None:
    """ "Sharp" alone or "make it sharp" is a wish, "not sharp" a complaint, "it is sharp" neither."""
    if clause.negates:
        return None if clause.has("make", "remove", "touch", "want") else True
    if clause.has("make", "want"):
        return True
    alone = clause.roles <= {"and", "too", "scene", "photo"} and not clause.strange
    return True if alone and not clause.head_last and term.end - term.start >= len(text) / 3 else None


def _is_damage_wanted(clause: Clause) -> bool | None:
    if not clause.negates:
        return None if clause.has("want") and not clause.has("remove", "too", "be", "first", "last") else True
    if clause.has("want", "like", "keep"):
        return True
    if clause.has("remove", "touch", "auto"):
        return False
    if clause.has("no", "without"):
        return None if clause.has("be") else True
    return False


def _level(term: Match, clause: Clause, text: str) -> int:
    if clause.has("lack", "enough") and (term.is_repair or term.kind == "good"):
        return COMPLAINT
    if (
        term.kind == "quality"
        and (clause.has("be") or len(text) > SHORT)
        and not (clause.adds or clause.has("make", "want", "remove"))
    ):
        return STATEMENT
    if term.is_repair or clause.has("allgood"):
        return ORDER
    if term.kind == "good":
        return ORDER if clause.has("make", "want") or not clause.negates else STATEMENT
    orders = clause.has("remove", "hate", "hides", "only") or (clause.negates and clause.has("keep", "want", "touch"))
    if _is_attribute(term, clause, text):
        return ATTRIBUTE
    if term.named and not orders:
        return MENTION
    if orders:
        return ORDER
    if clause.has("bother", "too", "alas", "see") or _is_told(term, clause) or _is_phrase(term, clause, text):
        return COMPLAINT
    if clause.has("first", "then", "last", "before", "after"):
        return ORDER
    if clause.has("no", "without", "not"):
        return ORDER if len(text) < SHORT else STATEMENT
    if clause.has("object", "cannot") and not clause.has("be"):
        return MENTION
    return STATEMENT if len(clause.strange) <= FEW else MENTION


def _is_phrase(term: Match, clause: Clause, text: str) -> bool:
    """Returns whether it takes several words to say it, which nobody does by the way: "my hand slipped"."""
    return term.kind == "state" and (clause.head_last or " " in text[term.start : term.end])


def _is_told(term: Match, clause: Clause) -> bool:
    index = clause.found.index(term)
    before = clause.found[index - 1] if index else None
    return before is not None and "be" in before.names


def _is_attribute(term: Match, clause: Clause, text: str) -> bool:
    """Returns whether a term belongs to the thing named right after it: "a rainy day", "dark shadow", "rain boots"."""
    index = clause.found.index(term)
    after = clause.found[index + 1] if index + 1 < len(clause.found) else None
    gap = text[term.end : after.start if after else len(text)]
    if after is not None and len(gap) <= 2 and not gap.strip(" -"):
        if "photo" in after.names:
            return False
        if "scene" in after.names and (term.kind == "state" or clause.compounds):
            return not clause.has("remove")
        if after.names & {"object"}:
            return term.kind == "state"
        if term.kind == "state" and after.kind in ("damage", "state"):
            return after.kind == "damage" and after.name != term.name
    word = gap.lstrip(" -").split(" ")[0].strip(".,;:!?") if gap[:1] in (" ", "-") else ""
    if word not in clause.strange or _is_told(term, clause):
        return False
    return term.kind == "state" or not clause.has("remove", "hate", "only") or _is_first_noun(term, word, clause)


def _is_first_noun(term: Match, word: str, clause: Clause) -> bool:
    """Returns whether a damage only tells what kind of thing is meant: "the fog lamp"."""
    return term.kind == "damage" and clause.compounds and word.isascii() and not word.endswith("ly")


def with_lists(readings: Sequence[list[Reading]], clauses: Sequence[Clause]) -> list[list[Reading]]:
    """Gives the members of lists the sense of the one with the verb: "remove noise and rain", "雨と霧を消して"."""
    done = [list(members) for members in readings]
    for index in range(1, len(clauses)):
        after = clauses[index + 1] if index + 1 < len(clauses) else None
        if after and after.head_last and after.has("only", "remove") and not after.terms and _turns(clauses[index - 1]):
            continue  # "keep the snow, and the blur: that only, remove"
        contrast = clauses[index].roles == {"not"} and clauses[index - 1].has("keep")
        if clauses[index].terms and (contrast or clauses[index].roles <= {"and", "then", "scene", "photo"}):
            done[index] = _like_before(done[index], clauses[index], done[index - 1], clauses[index - 1])
    for index in range(len(clauses) - 2, -1, -1):
        after = clauses[index + 1]
        if after.roles == {"then"} and not after.terms:
            done[index] = [replace(reading, level=ORDER) if reading.wanted else reading for reading in done[index]]
        if clauses[index].head_last and clauses[index].roles <= {"too"} and after.has("want") and after.has("make"):
            done[index] = [replace(r, wanted=True) if r.kind == "good" else r for r in done[index]]
        if _is_listed(clauses[index], after) and done[index + 1]:
            last = done[index + 1][0]
            kept = last.wanted is False and after.has("like", "keep") and not after.negates  # "X and Y may stay"
            if (last.level > done[index][0].level or last.level == ATTRIBUTE or kept) and last.kind != "good":
                done[index] = [replace(reading, wanted=last.wanted, level=last.level) for reading in done[index]]
    return done


def _turns(before: Clause) -> bool:
    return before.has("keep", "nothing", "not")


def _is_listed(clause: Clause, after: Clause) -> bool:
    """Returns whether a clause only names what the next one goes on with: "it is dark and very noisy"."""
    if any(term.named for term in clause.terms):
        return False
    said = clause.roles <= {"and", "scene", "photo", "be"} and bool(clause.terms) and _plain(clause)
    return (said and after.joined == "and") or (clause.bare and after.joined == "comma" and after.bare)


def _plain(clause: Clause) -> bool:
    return all(term.kind in ("damage", "state") for term in clause.terms)


def _like_before(now: list[Reading], clause: Clause, earlier: Sequence[Reading], before: Clause) -> list[Reading]:
    if not clause.joined and "then" not in clause.roles:
        return now
    if any(term.is_repair for term in clause.terms):
        refused = before.has("nothing") or (before.negates and bool(earlier) and earlier[-1].wanted is False)
        return [replace(reading, wanted=False) for reading in now] if refused and clause.joined == "and" else now
    if not earlier and before.has("be") and any(term.kind == "good" for term in clause.terms):
        return [replace(reading, wanted=None) for reading in now]
    if not earlier:
        ordered = before.has("remove") and not before.negates and before.has("object", "cannot", "remove")
        return [replace(reading, wanted=True, level=ORDER) for reading in now] if ordered else now
    last = earlier[-1]
    if before.has("keep") and not before.negates and clause.negates:  # "the grain may stay, the blur not"
        return [replace(reading, wanted=True, level=ORDER) for reading in now]
    if before.negates and not before.has("dont", "keep", "touch", "remove", "make"):  # "not the rain, the snow"
        return now
    if before.has("be") and not clause.negates and any(term.kind == "good" for term in clause.terms):
        return [replace(reading, wanted=None) for reading in now]
    if any((term.kind == "good") != (last.kind == "good") for term in clause.terms):
        return now
    return [
        replace(reading, wanted=last.wanted, level=max(last.level, reading.level))
        if reading.level > ATTRIBUTE
        else reading
        for reading in now
    ]
