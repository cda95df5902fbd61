"""The warnings of a restoration: sentences with stable codes.

A warning is a sentence (`str`) that carries its code, so that everything that takes sentences takes warnings, too.
The codes are public; docs/api.md has the same table.  Torch-free.
"""

from collections.abc import Iterable

CODES: dict[str, str] = {
    "damaged-image": "part of the file is damaged or missing; the rest was restored",
    "further-images": "the file holds more images or channels than those that were restored",
    "converted-color": "the pixels were converted from another color encoding, such as CMYK, linear light or HDR",
    "lost-metadata": "metadata that the result does not hold: they are unsafe, unknown, or have no place in its format",
    "reduced-depth": "the result has fewer bits a sample than the photo",
    "lost-alpha": "the format has no transparency; the photo was placed on a white background",
    "lost-profile": "the color profile fits neither gray nor RGB samples",
    "ignored-prompt": "the bundle cannot be told what to repair",
    "guessed-prompt": "the bundle can do nothing of the prompt; the most similar repair was done, or nothing",
    "partial-prompt": "the prompt also asks for what the bundle cannot repair; the rest was done",
    "no-enlarging-repair": "the bundle cannot repair low resolution; the photo was only enlarged before",
    "equal-variants": "the repair draws no noise, so all variants would be equal, and one was made",
    "redrawn-text": "small text changed much more than its surroundings; compare it with the photo",
    "redrawn-face": "a face changed much more than its surroundings; compare it with the photo",
    "other": "a warning without a code of its own, such as those of workers of an earlier version",
}
"""What each code means."""


class CodedWarning(str):
    """A sentence for the user, with one of `CODES`."""

    code: str

    def __new__(cls, sentence: str, code: str = "other") -> "CodedWarning":
        """Raises KeyError for a code that is not in the table."""
        CODES[code]
        warning = super().__new__(cls, sentence)
        warning.code = code
        return warning

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # str has one argument
        return str(self), self.code

    def about(self, name: str) -> "CodedWarning":
        """Returns the warning with the name of the photo before it."""
        return CodedWarning(f"{name}: {self}", self.code)


def coded(sentences: Iterable[str], code: str) -> tuple[CodedWarning, ...]:
    """Returns sentences as warnings; those that have a code keep it."""
    return tuple(text if isinstance(text, CodedWarning) else CodedWarning(text, code) for text in sentences)


def codes_of(sentences: Iterable[str]) -> tuple[str, ...]:
    """Returns the code of each sentence."""
    return tuple(text.code if isinstance(text, CodedWarning) else "other" for text in sentences)


EQUAL_VARIANTS = CodedWarning(
    "the repair draws no noise, so all variants would be equal, and one was made", "equal-variants"
)
PROMPT_IGNORED = CodedWarning(
    "this bundle cannot be told what to repair, so the prompt had no effect", "ignored-prompt"
)
