"""The file name of a picture, for `Content-Disposition` (RFC 6266 and 8187)."""

import re
import unicodedata
from urllib.parse import quote

MAX_CHARACTERS = 100
_RESERVED = re.compile(r'[<>:"|?*\\/;%]')
"""Characters that some file system or some reader of the header takes for something else."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_NO_NAMES = ("blob", "upload", "file", "image")
"""What programs call bytes that have no name: browsers, httpx."""
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`|~"
"""RFC 8187's attr-char, beside letters and digits."""


def clean_stem(name: str | None) -> str | None:
    """Return the name of a client's file without folder and extension, as a safe name; None where nothing is left.

    No control or invisible characters, nothing that a file system or a shell takes for more than a letter, and no dot
    at the start.
    """
    last = re.split(r"[\\/]", unicodedata.normalize("NFC", name or ""))[-1]
    kept = "".join(
        character for character in last if unicodedata.category(character)[0] not in "CZ" or character == " "
    )
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", _RESERVED.sub("_", kept).strip())
    stem = re.sub(r"\s+", " ", stem).strip(" .-")[:MAX_CHARACTERS].strip(" .")
    if stem.lower() in _NO_NAMES or not any(letter.isalnum() for letter in stem):
        return None
    return f"{stem}_" if _DEVICES.fullmatch(stem) else stem


def content_disposition(file_name: str, kind: str = "inline") -> str:
    """Return the header's value: a name in ASCII for old readers, and the whole name where it has other letters."""
    plain = unicodedata.normalize("NFKD", file_name).encode("ascii", "ignore").decode()
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", plain)
    if plain == file_name:
        return f'{kind}; filename="{plain}"'
    stem, dot, ending = plain.rpartition(".")
    fallback = plain if re.search(r"\w", stem) else f"image{dot}{ending}"
    return f"{kind}; filename=\"{fallback}\"; filename*=UTF-8''{quote(file_name, safe=_ATTRIBUTE_CHARACTERS)}"
