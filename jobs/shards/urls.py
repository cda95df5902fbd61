"""Reads the URLs of shards from the setting: `redis://a:6379/0 redis://b:6379/0?shard=5`, or `@/etc/undegrade/shards`.

White space separates the URLs, because Sentinels are separated by commas.  A URL without a number has that of its
position.  A file has the same text, and `#` begins a comment; processes read it again when it changes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.errors import RedisUrlError
from jobs.redis_url import SCHEMES, RedisAddress, checked_url, read_url, shown_url
from jobs.shards.numbers import MAX_NUMBER

WORD = "shard"
FILE_MARK = "@"
MAX_FILE_BYTES = 1 << 20
_NUMBER = re.compile(rf"(?<=[?&]){WORD}=([^&#]*)(&|(?=#|$))")


def is_sharded(text: str) -> bool:
    """Whether the setting names several servers, a file, or a shard's number.  One plain URL is not sharded."""
    return text.startswith(FILE_MARK) or len(text.split()) > 1 or bool(_NUMBER.search(text))


def checked_urls(text: str) -> str:
    """Returns the setting in our own words: of one plain URL that URL, of a file its path.

    Raises:
        RedisUrlError: as `read_shards`.
    """
    if not is_sharded(text):
        return checked_url(text)
    shards = read_shards(text)
    if text.startswith(FILE_MARK):
        return text
    return " ".join(f"{url}{'&' if '?' in url else '?'}{WORD}={number}" for number, url in shards.items())


def shown_urls(text: str) -> str:
    """Returns the setting for messages and logs, with *** for its passwords."""
    return text if text.startswith(FILE_MARK) else " ".join(map(shown_url, text.split()))


def read_shards(text: str) -> Mapping[int, str]:
    """Returns the URL of each shard by its number, smallest number first.

    Raises:
        RedisUrlError: a URL is not valid, a number is missing, doubled or out of range, two URLs name one server, or
            the file cannot be read.  The message hides the passwords.
    """
    if text.startswith(FILE_MARK):
        return _read_file(Path(text.removeprefix(FILE_MARK)))
    return _read_list(text.split())


def _read_file(path: Path) -> Mapping[int, str]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RedisUrlError(f"the file of shards {path} has more than {MAX_FILE_BYTES} bytes")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not text"
        raise RedisUrlError(f"the file of shards {path} cannot be read: {cause}") from None
    words = [word for line in lines if not line.lstrip().startswith("#") for word in line.split()]
    if not words:
        raise RedisUrlError(f"the file of shards {path} has no URL; write one Redis URL in each line")
    try:
        return _read_list(words)
    except RedisUrlError as error:
        raise RedisUrlError(f"the file of shards {path}: {error}") from None


def _read_list(words: list[str]) -> Mapping[int, str]:
    for position, word in enumerate(words, 1):
        if word.partition("://")[0] not in SCHEMES or "://" not in word:  # it may be a part of a password
            raise RedisUrlError(
                f"part {position} of {len(words)} of the Redis URLs is no URL. White space separates the URLs of "
                "shards; write a blank in a password as %20"
            )
    found: dict[int, str] = {}
    places: dict[Any, int] = {}
    for position, word in enumerate(words):
        number, url = _numbered(position, word)
        address = read_url(url)
        if number in found:
            raise RedisUrlError(
                f"two Redis URLs are shard {number}, the second is {shown_url(word)}; give each a number of its own, "
                f"as ?{WORD}=N"
            )
        if (other := places.setdefault(_place(address), number)) != number:
            raise RedisUrlError(f"the shards {other} and {number} are one database of one server, {address.place}")
        found[number] = address.url
    return dict(sorted(found.items()))


def _numbered(position: int, word: str) -> tuple[int, str]:
    """Returns the number of a URL, by default its position, and the URL without it."""
    numbers = _NUMBER.findall(word)
    if not numbers:
        return position, word
    text = numbers[0][0]
    if len(numbers) > 1 or not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > MAX_NUMBER:
        raise RedisUrlError(f"the Redis URL {shown_url(word)} has no valid {WORD}=, expected 0 to {MAX_NUMBER}")
    return int(text), _NUMBER.sub("", word).rstrip("?&")


def _place(address: RedisAddress) -> tuple[object, ...]:
    """What two URLs of one database have in common."""
    return address.place, address.server.get("db", 0)
