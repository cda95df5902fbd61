"""The words of each language for damage, for repairs, and for what a user wants done with them: languages/*.toml.

A pattern is one or more words; "*" stands for any ending.  Patterns match whole words, without regard to case, accents
and the kind of apostrophe; in languages without spaces (`spaced = false`) they match anywhere.
"""

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("languages")
KINDS = ("damage", "state", "repair", "word")


@dataclass(frozen=True, kw_only=True)
class Match:
    """What a pattern stands for, and where it stands in the normalized text.

    Attributes:
        kind: "damage" (a thing: noise), "state" (a property: noisy), "repair" (what is done: denoise), or "word".
        names: of the degradation, or the word's roles, such as "not": some have several.
    """

    kind: str
    names: frozenset[str]
    start: int
    end: int

    @property
    def name(self) -> str:
        """The degradation of a term, which has only one."""
        return next(iter(self.names))


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language's patterns, compiled into one expression, the longest first."""

    code: str
    spaced: bool
    pattern: re.Pattern[str]
    meanings: Sequence[tuple[str, frozenset[str]]]
    words: frozenset[str]
    """Patterns of single words, for typing errors."""

    def matches(self, text: str) -> list[Match]:
        """Returns what is found in a normalized text, from left to right, without overlaps."""
        return [
            Match(
                kind=self.meanings[index - 1][0], names=self.meanings[index - 1][1], start=found.start(), end=found.end()
            )
            for found in self.pattern.finditer(text)
            if (index := found.lastindex)
        ]  # fmt: skip


def normalized(text: str) -> str:
    """Returns the text in lower case, without accents, with plain apostrophes and single spaces."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    bare = "".join(sign for sign in decomposed if not "\u0300" <= sign <= "\u036f")
    plain = unicodedata.normalize("NFC", bare).replace("\u2019", "'").replace("`", "'").replace("\u00b4", "'")
    return re.sub(r"[^\S\n]+", " ", plain).strip()


@cache
def languages() -> tuple[Language, ...]:
    """Returns all languages; English is the first."""
    files = sorted(FOLDER.glob("*.toml"), key=lambda path: (path.stem != "en", path.stem))
    return tuple(_read(path) for path in files)


def _read(path: Path) -> Language:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    spaced = bool(content.get("spaced", True))
    meanings: dict[str, tuple[str, frozenset[str]]] = {}
    for kind in KINDS:
        for name, patterns in content.get(kind, {}).items():
            for pattern in map(normalized, patterns):
                before = meanings.get(pattern)
                if before is None or before[0] != kind:
                    meanings.setdefault(pattern, (kind, frozenset({name})))
                else:
                    meanings[pattern] = kind, before[1] | {name}
    patterns = sorted(meanings, key=lambda pattern: -len(pattern))
    groups = "|".join(f"({_expression(pattern)})" for pattern in patterns)
    return Language(
        code=path.stem, spaced=spaced, meanings=[meanings[pattern] for pattern in patterns],
        pattern=re.compile(rf"(?<!\w)(?:{groups})(?!\w)" if spaced else groups),
        words=frozenset(pattern for pattern in patterns if " " not in pattern) if spaced else frozenset(),
    )  # fmt: skip


def _expression(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", r"\w*").replace(r"\ ", r"[\s-]+")
