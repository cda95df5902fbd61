"""The words of each language for damage, for repairs, and for what a user wants done with them: languages/*.toml.

A pattern is one or more words; "*" stands for any ending, or at the start of a word for any beginning.  Patterns match
whole words, without regard to case, accents and the kind of apostrophe.  In languages without spaces between words
(`spaced = false`) they match anywhere, unless "^" asks for the beginning of a word and "$" for its end.
"""

import itertools
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from models.words.text import NAME, normalized

FOLDER = Path(__file__).with_name("languages")
EVERYWHERE = "any"
"""The file of terms that are used in every language: "denoise", "jpeg"."""
KINDS = ("damage", "state", "good", "quality", "repair", "vague", "word")
TERMS = ("damage", "state", "good", "quality", "repair")
REPAIRS = ("quality", "repair")
NOUNS_WITH_CAPITALS = ("de",)
LATIN = ("en", "de", "es", "fr", "it", "pt")
SCRIPTS = {
    "LATIN": (*LATIN, "ru", "ja", "ko", "zh"), "CYRILLIC": ("ru",), "CJK": ("zh", "ja"), "HIRAGANA": ("ja",),
    "KATAKANA": ("ja",), "HALFWIDTH": ("ja",), "HANGUL": ("ko",), "FULLWIDTH": ("zh", "ja", "ko"),
}  # fmt: skip
"""The languages of each script; Latin letters also write the others in romanized form."""
KEPT_WORDS = 20_000
_TOKEN = re.compile(r"\w+|'")
_WORDS, _SIGNS = re.compile(r"\*?\w+\*?|'|\*"), re.compile(r"\^|\$|[^\s^$]+")
_GAP = re.compile(rf"[\s\-{NAME}]*")


@dataclass(frozen=True, kw_only=True)
class Match:
    """What a pattern stands for, and where it stands in the normalized text.

    Attributes:
        kind: "damage" (a thing: noise), "state" (a property: noisy), "good" (the lack of it: sharp), "quality" (what is
            lacking: sharpness), "repair" (what is done: denoise), "vague" (what may come of it: "one hardly sees her"),
            or "word".
        names: of the degradation, or the word's roles, such as "not": some have several.
        named: it is part of a name or a quotation.
    """

    kind: str
    names: frozenset[str]
    start: int
    end: int
    named: bool = False

    @property
    def name(self) -> str:
        """The degradation of a term, which has only one."""
        return next(iter(self.names))

    @property
    def is_repair(self) -> bool:
        """It is what the user wants, not what he has."""
        return self.kind in REPAIRS

    @property
    def is_term(self) -> bool:
        return self.kind in TERMS


class _Pattern(NamedTuple):  # far faster to make than a data class; there are 23,000
    parts: tuple[str, ...]
    head: str
    kind: str
    names: frozenset[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Language:
    """One language's patterns, found by their first word (spaced) or first sign (not spaced), the longest first."""

    code: str
    spaced: bool
    patterns: Mapping[str, Sequence[_Pattern]]
    words: frozenset[str]
    """Patterns of single words, for typing errors."""

    def matches(self, text: str) -> list[Match]:
        """Returns what is found in a normalized text, from left to right, without overlaps."""
        return list(self._spaced(text) if self.spaced else self._unspaced(text))

    def _spaced(self, text: str) -> Iterator[Match]:
        tokens = [(found[0], found.start(), found.end()) for found in _TOKEN.finditer(text)]
        index = 0
        while index < len(tokens):
            fitting = [
                pattern for pattern in _starting(self, tokens[index][0]) if _fits(pattern.parts, tokens, index, text)
            ]
            best = max(fitting, key=_weight) if len(fitting) > 1 else fitting[0] if fitting else None
            last = index + len(best.parts) - 1 if best else index
            if best:
                start = tokens[index][1]
                named = text[start - 1 : start] == NAME and self.code not in NOUNS_WITH_CAPITALS
                yield Match(kind=best.kind, names=best.names, start=start, end=tokens[last][2], named=named)
            index = last + 1

    def _unspaced(self, text: str) -> Iterator[Match]:
        position = 0
        while position < len(text):
            for pattern in self.patterns.get(text[position], ()):
                if not text.startswith(pattern.head, position):  # spares nearly all of the calls
                    continue
                end = _end(pattern.parts, text, position)
                if end:
                    named = text[position - 1 : position] == NAME
                    yield Match(kind=pattern.kind, names=pattern.names, start=position, end=end, named=named)
                    position = end - 1
                    break
            position += 1


@lru_cache(maxsize=KEPT_WORDS)
def _starting(language: Language, word: str) -> Sequence[_Pattern]:
    """Returns the patterns whose first word may be this one."""
    keys = [word]
    for length in range(1, len(word) + 1):
        keys += [word[:length] + "*", "*" + word[-length:]]
    return [pattern for key in keys for pattern in language.patterns.get(key, ())]


def _weight(pattern: _Pattern) -> tuple[int, int, bool]:
    joined = "".join(pattern.parts)
    return len(pattern.parts), len(joined.replace("*", "")), "*" not in joined


def _fits(parts: Sequence[str], tokens: Sequence[tuple[str, int, int]], index: int, text: str) -> bool:
    if index + len(parts) > len(tokens):
        return False
    for offset, part in enumerate(parts[1:], 1):
        word, start, _ = tokens[index + offset]
        if not (word == part or (part[-1] == "*" and word.startswith(part[:-1]))):
            return False
        if not _GAP.fullmatch(text, tokens[index + offset - 1][2], start):
            return False
    return True


def _end(parts: Sequence[str], text: str, start: int) -> int:
    """Returns where the pattern of a language without spaces ends in the text; 0 if it does not stand at `start`."""
    position = start
    for part in parts:
        if part == "^":
            if text[start - 1 : start].isalnum() and start:
                return 0
        elif part == "$":
            if text[position : position + 1].isalnum():
                return 0
        else:
            while position > start and text[position : position + 1] in (" ", NAME):
                position += 1
            if not text.startswith(part, position):
                return 0
            position += len(part)
    if text[start].isascii() and text[start - 1 : start].isalnum() and text[start - 1].isascii() and start:
        return 0
    latin = text[position - 1].isascii() and text[position : position + 1].isascii()
    return 0 if latin and text[position : position + 1].isalnum() else position


def languages() -> tuple[Language, ...]:
    """Returns all languages; English is the first."""
    return tuple(map(language_of, _codes()))


def languages_of(text: str) -> tuple[Language, ...]:
    """Returns the languages that are written in the script of a text, or all where it has several or none."""
    scripts = {script for sign in text if sign.isalpha() and (script := unicodedata.name(sign, "").split(" ")[0])}
    found = {code for script in scripts for code in SCRIPTS.get(script, ())}
    return tuple(language_of(code) for code in _codes() if not found or code in found)


@cache
def language_of(code: str) -> Language:
    """Returns the language of a code of two letters; it is read at the first call."""
    content, everywhere = _content(code), _content(EVERYWHERE)
    spaced = bool(content.get("spaced", True))
    listed = [
        (kind, name, form)
        for source, kind in itertools.product((content, everywhere), KINDS)
        for name, patterns in source.get(kind, {}).items()
        for pattern in patterns
        for form in _forms(pattern, spaced)
    ]
    plain = _normalized_all([form for _, _, form in listed])
    meanings: dict[tuple[str, ...], tuple[str, frozenset[str]]] = {}
    alone = {name: frozenset({name}) for _, name, _ in listed}
    for (kind, name, _), form in zip(listed, plain, strict=True):
        parts = _parts(form, spaced)
        before = meanings.get(parts)
        if before is None or before[1] == {"filler"}:
            meanings[parts] = kind, alone[name]
        elif before[0] == kind == "word" and name != "filler":
            meanings[parts] = kind, before[1] | {name}
    patterns = [
        _Pattern(parts, parts[1 if parts[0] == "^" else 0], kind, names) for parts, (kind, names) in meanings.items()
    ]
    return Language(
        code=code, spaced=spaced, patterns=_indexed(patterns, spaced),
        words=frozenset(pattern.parts[0] for pattern in patterns if len(pattern.parts) == 1),
    )  # fmt: skip


@cache
def _codes() -> tuple[str, ...]:
    codes = sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != EVERYWHERE)
    return ("en", *(code for code in codes if code != "en"))


@cache
def _content(code: str) -> Mapping[str, Any]:
    return tomllib.loads((FOLDER / f"{code}.toml").read_text(encoding="utf-8"))


def _indexed(patterns: Iterable[_Pattern], spaced: bool) -> dict[str, list[_Pattern]]:
    index: dict[str, list[_Pattern]] = {}
    for pattern in patterns:
        index.setdefault(pattern.head if spaced else pattern.head[0], []).append(pattern)
    for found in index.values():
        found.sort(key=_weight_of_signs)
    return index


def _weight_of_signs(pattern: _Pattern) -> int:
    return -len("".join(pattern.parts))


def _normalized_all(forms: Sequence[str]) -> list[str]:
    """Returns the normalized forms of patterns, which takes far longer one by one."""
    strange = dict.fromkeys(form for form in forms if not form.isascii())
    plain = dict(zip(strange, normalized("\n".join(strange)).split("\n"), strict=True)) if strange else {}
    return [plain[form] if form in plain else form.lower() for form in forms]


def _forms(pattern: str, spaced: bool) -> Iterator[str]:
    """Returns a pattern, also as people write it who have no umlauts or leave out the apostrophe."""
    yield pattern
    if spaced and not pattern.isascii() and re.search("[äöü]", pattern):
        yield pattern.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
    if spaced and "'" in pattern and not re.search(r"\w\w'[eè]\b", pattern):  # "com'è" is not "come" in Italian
        yield pattern.replace("'", "")


def _parts(plain: str, spaced: bool) -> tuple[str, ...]:
    if not spaced:
        return tuple(_SIGNS.findall(plain))
    return (plain,) if plain.isalpha() else tuple(_WORDS.findall(plain))
