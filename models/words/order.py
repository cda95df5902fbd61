"""Puts what a user wants into the order that he gives: "sharpen it after removing the noise"."""

from collections.abc import Sequence
from dataclasses import replace

from models.words.clauses import Clause
from models.words.lexicon import Match
from models.words.readings import Reading

JOINTS = frozenset({"and", "scene", "photo"})


def in_order(grouped: Sequence[Sequence[Reading]], parts: Sequence[Clause], text: str) -> list[Reading]:
    """Returns the readings of all clauses, one after the other, in the user's order.

    A clause with "after" moves before what it follows, one with "before" behind the clause that it introduces; "first"
    and "last" move to the ends.
    """
    order: list[int] = []
    segment = 0  # where the clauses begin in `order` that "after" and "before" are about
    waiting: list[int] = []
    relation = ""
    for index, part in enumerate(parts):
        wanted = any(reading.wanted for reading in grouped[index])
        if index and (part.sentence != parts[index - 1].sentence or _goes_on(part, parts, index, text)):
            ready = any(grouped[other] for other in order[segment:])
            if ready or not waiting:
                order += waiting
                waiting, segment = [], len(order)
        relation = _relation(part, parts, index, text, relation)
        if relation == "after" and wanted:
            order.insert(segment, index)
            segment += 1
        elif relation == "before" and wanted and not any(_wants(grouped[other]) for other in order[segment:]):
            waiting.append(index)
        else:
            order.append(index)
    readings = [reading for index in (*order, *waiting) for reading in _by_end(grouped[index], parts[index:])]
    return sorted(readings, key=lambda reading: reading.place)


def _wants(readings: Sequence[Reading]) -> bool:
    return any(reading.wanted for reading in readings)


def _goes_on(part: Clause, parts: Sequence[Clause], index: int, text: str) -> bool:
    """Returns whether a clause begins the next step: "then"."""
    return part.has("then") and not (part.has("after") and _is_attached(part, parts, index, text))


def _is_attached(part: Clause, parts: Sequence[Clause], index: int, text: str) -> bool:
    """Returns whether a word that means both "after" and "afterwards" means the first: nothing stands between."""
    before = text[: part.found[0].start].rstrip()
    return not index or (before[-1:].isalnum() and parts[index - 1].roles != {"and"})


def _relation(part: Clause, parts: Sequence[Clause], index: int, text: str, earlier: str) -> str:
    """Returns "after" or "before" for a clause that says when another step is done; members of a list share it."""
    acts = part.has("remove") or any(term.is_repair or term.kind == "good" for term in part.terms)
    opened = index and not parts[index - 1].terms and part.sentence == parts[index - 1].sentence
    roles = part.roles | parts[index - 1].roles if opened else part.roles  # "after that, when you" with a comma
    if "before" in roles and acts:
        return "before"
    if "after" in roles and acts and not part.has("nothing"):
        if opened and "after" not in part.roles:
            return "" if "then" in roles and not _is_attached(parts[index - 1], parts, index - 1, text) else "after"
        return "after" if not part.has("then") or _is_attached(part, parts, index, text) else ""
    return earlier if part.joined == "and" and part.roles <= JOINTS else ""


def _by_end(readings: Sequence[Reading], parts: Sequence[Clause]) -> list[Reading]:
    """Returns a clause's readings, the last one first in "brighten it only when the noise is gone" in Japanese."""
    if len(readings) < 2 or readings[0].kind != "repair":
        return list(readings)
    now, after = parts[0], parts[1] if len(parts) > 1 else None
    late = now.head_last and after is not None and after.has("then") and not any(part.terms for part in parts[1:])
    opens = not now.head_last and "before" in now.found[0].names  # "before enlarging remove the noise"
    return [*readings[1:], readings[0]] if late or opens else list(readings)


def with_references(found: Sequence[Match]) -> list[Match]:
    """Returns the matches with what "the former" and "the latter" stand for; without two things before, they go.

    What is vague counts where nothing else is named: in "so much grain that you hardly see her", only the grain does.
    """
    clear = any(match.is_term for match in found)
    done: list[Match] = []
    named: list[Match] = []
    for match in found:
        if match.kind == "vague":
            kind, names = ("word", frozenset({"alas", "unseen"})) if clear else ("state", match.names)
            match = replace(match, kind=kind, names=names)
        if match.is_term:
            named = [other for other in named if other.names != match.names] + [match]
        elif match.kind == "word" and match.names & {"former", "latter"}:
            if len(named) > 1:
                meant = named[-2] if "former" in match.names else named[-1]
                done.append(Match(kind="damage", names=meant.names, start=match.start, end=match.end))
            continue
        done.append(match)
    return done
