"""The names of the results in a zip file, from those of the caller's files."""

import re
import unicodedata

MAX_CHARACTERS = 100
_BAD = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_PLAIN = re.compile(r"(.+)\.[A-Za-z0-9]{1,5}")


class ZipNames:
    """Gives each result a name of its own, also where letters of another case are equal."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, index: int, file_name: str | None, ending: str, variant: int | None = None) -> str:
        """Return the name for the result of an image.

        Args:
            index: of the image, for one without a usable name.
            file_name: of the caller's file; it may hold anything.
            ending: of the result, without a dot.
            variant: number of one of several results.
        """
        stem = _stem(file_name or "") or f"image-{index:04}"
        stem += "" if variant is None else f"-{variant}"
        name, number = f"{stem}.{ending}", 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem} ({number}).{ending}"
        self._taken.add(name.casefold())
        return name


def _stem(file_name: str) -> str:
    """Return a name without folders, ending, and characters that a system forbids."""
    base = re.split(r"[/\\]", file_name)[-1]
    text = "".join(letter for letter in unicodedata.normalize("NFC", base) if unicodedata.category(letter) != "Cs")
    text = _BAD.sub("_", "".join(letter for letter in text if letter.isprintable()))
    plain = _PLAIN.fullmatch(text)
    stem = (plain[1] if plain else text)[:MAX_CHARACTERS].strip(" .")
    return f"_{stem}" if _RESERVED.fullmatch(stem) else stem
