"""One file from an HTTP server to disk: resumed, retried with growing pauses, and hashed on the way.

What has arrived lies in NAME.part, and what it is a part of (the server's ETag or date) in NAME.part.tag.  A part is
asked to be continued with Range and If-Range (RFC 9110, 13.1.5 and 14.2), so that a file which changed on the server
comes whole; a server that knows no ranges sends it whole anyway.
"""

import hashlib
import http
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from models.errors import BundleError
from models.registry import RemoteFile

BLOCK_BYTES = 2**20
PROGRESS_BYTES = 2**24
"""Tries that together brought so much are not counted: a bad line gets there too."""
LONGEST_ASKED_S = 300.0
"""Of a server's Retry-After."""
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
AGAIN = (408, 425, 429, 500, 502, 503, 504)

OnProgress = Callable[[int, int], None]
"""Called with how many bytes of the file are there, and how many it has."""


class DownloadError(Exception):
    """A server does not give the file, also after several tries."""


class _Again(Exception):
    """This try failed; the next may not.  `after_s`: what the server asked to wait."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a server is tried, and the pauses, which double from the first to the longest."""

    tries: int = 6
    first_s: float = 0.5
    longest_s: float = 30.0


class Part:
    """What has arrived of a file: on disk, with its length and its running hash."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self._tag = target.with_name(target.name + ".part.tag")
        self.digest, self.bytes = hashlib.sha256(), 0
        if self.path.is_file():
            with self.path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    self._count(block)

    @property
    def validator(self) -> str:
        """What If-Range takes; empty where the server gave nothing, and then the hash alone must tell."""
        return self._tag.read_text() if self._tag.is_file() else ""

    def restart(self, validator: str = "") -> None:
        self.digest, self.bytes = hashlib.sha256(), 0
        self.path.write_bytes(b"")
        self._tag.write_text(validator)

    def append(self, blocks: Iterable[bytes]) -> Iterator[int]:
        """Write what arrives, each block at once, so that a kill loses nothing; gives the length after each.

        Raises:
            BundleError: the disk is full or fails.
        """
        with self.path.open("ab", buffering=0) as file:
            for block in blocks:
                try:
                    left = memoryview(block)
                    while left:  # an almost full disk takes less than all of it
                        left = left[file.write(left) :]
                except OSError as error:
                    raise BundleError(
                        f"cannot write {self.path}: {error.strerror}. What is here is kept for the next time."
                    ) from error
                self._count(block)
                yield self.bytes

    def finish(self) -> None:
        self.path.replace(self.target)
        self._tag.unlink(missing_ok=True)

    def _count(self, block: bytes) -> None:
        self.digest.update(block)
        self.bytes += len(block)


def open_client() -> httpx.Client:
    """Proxies and certificates are those of the environment (HTTPS_PROXY, SSL_CERT_FILE).

    Raises:
        DownloadError: there is a proxy that cannot be used.
    """
    # Compressed bytes have neither the length nor the offsets of the file
    headers = {"Accept-Encoding": "identity", "User-Agent": f"undegrade/{version('undegrade')}"}
    try:
        return httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers=headers)
    except (ImportError, ValueError) as error:  # SOCKS wants another package; other words are no address
        raise DownloadError(f"cannot use the proxy that the environment names: {error}. Change HTTPS_PROXY.") from error


def arrived(file: RemoteFile, target: Path) -> bool:
    """Whether the file is there already, whole and as stated; asks nobody.

    Raises:
        BundleError: what is there is another file.
    """
    if not target.is_file():
        part = Part(target)
        if (part.bytes, part.digest.hexdigest()) == (file.bytes, file.sha256):
            part.finish()
        return target.is_file()
    with target.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.sha256:
        raise BundleError(
            f"{target} has sha256 {found[:12]}…, the registry says {file.sha256[:12]}…. Remove it, or mend the registry"
            " file."
        )
    return True


def download(
    client: httpx.Client,
    file: RemoteFile,
    target: Path,
    on_progress: OnProgress,
    on_pause: Callable[[str], None],
    patience: Patience | None = None,
) -> None:
    """Bring a file to `target`, which appears when it is whole and its sha256 is right.  `on_pause` hears why it waits.

    Raises:
        BundleError: the server has another file than the registry states; nothing of it is kept.
        DownloadError: it does not give it; what arrived is kept for the next time.
    """
    patience, part = patience or Patience(), Part(target)
    while True:
        before = part.bytes
        try:
            for attempt in _tries(patience, on_pause):
                with attempt:
                    _try(client, file, part, on_progress)
            return
        except _Again as error:
            if part.bytes - before < PROGRESS_BYTES:
                raise DownloadError(
                    f"cannot fetch {file.place}: {error}, {patience.tries} times. {part.bytes} of {file.bytes} bytes "
                    "are here; the same command goes on with them."
                ) from error


def _tries(patience: Patience, on_pause: Callable[[str], None]) -> Retrying:
    backoff = wait_exponential(multiplier=patience.first_s, max=patience.longest_s) + wait_random(0, patience.first_s)

    def pause_s(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.after_s if isinstance(error, _Again) else 0.0
        return max(backoff(state), min(asked_s, LONGEST_ASKED_S))

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        on_pause(f"{error}; trying again in {state.upcoming_sleep:.0f} s")

    return Retrying(
        retry=retry_if_exception_type(_Again), stop=stop_after_attempt(patience.tries), wait=pause_s, before_sleep=tell,
        reraise=True,
    )  # fmt: skip


def _try(client: httpx.Client, file: RemoteFile, part: Part, on_progress: OnProgress) -> None:
    """Ask once for what is missing, and end with the whole file."""
    if part.bytes > file.bytes:
        part.restart()
    resumed = part.bytes > 0
    if part.bytes < file.bytes:
        resumed = _receive(client, file, part, on_progress)
    if part.bytes < file.bytes:
        raise _Again("the connection ended early")
    if (found := part.digest.hexdigest()) != file.sha256:
        part.restart()
        if resumed:  # its beginning may be of another file
            raise _Again("the parts do not fit each other")
        raise BundleError(
            f"{file.place} has sha256 {found[:12]}…, the registry says {file.sha256[:12]}…: "
            "it was changed, or the registry is wrong. Nothing of it is kept."
        )
    part.finish()


def _receive(client: httpx.Client, file: RemoteFile, part: Part, on_progress: OnProgress) -> bool:
    """Append what the server sends; whether it continued what was there."""
    headers = {}
    if part.bytes:
        headers["Range"] = f"bytes={part.bytes}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        with client.stream("GET", file.url, headers=headers) as answer:
            resumed = _begin(answer, file, part)
            on_progress(part.bytes, file.bytes)
            for size_bytes in part.append(answer.iter_raw()):  # given a size, it would lose what is less at a cut
                on_progress(size_bytes, file.bytes)
                if size_bytes > file.bytes:
                    part.restart()
                    raise BundleError(_other_size(file, "more bytes"))
    except httpx.TransportError as error:
        raise _Again(_in_words(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(f"cannot fetch {file.place}: {error}. Check its address in the registry.") from error
    return resumed


def _begin(answer: httpx.Response, file: RemoteFile, part: Part) -> bool:
    """Look at an answer's head: whether what follows continues the part, which else begins anew."""
    status = answer.status_code
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        where = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if where is None or int(where[1]) != part.bytes:
            part.restart()
            raise _Again("the server sent another part than the one that was asked for")
        _check_size(file, part, where[2])
        return True
    if status == http.HTTPStatus.OK:
        _check_size(file, part, answer.headers.get("Content-Length", "*"))
        part.restart(_validator(answer))
        return False
    if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.restart()
        raise _Again("the server's file is shorter than what is here of it")
    said = f"{status} {answer.reason_phrase}".strip()
    if status in AGAIN:
        asked = answer.headers.get("Retry-After", "")
        raise _Again(f"the server answered {said}", float(asked) if asked.isdigit() else 0.0)
    raise DownloadError(
        f"{file.place} answered {said}. Check its address in the registry, and whether it wants a login."
    )


def _check_size(file: RemoteFile, part: Part, stated: str) -> None:
    if stated.isdigit() and int(stated) != file.bytes:
        part.restart()
        raise BundleError(_other_size(file, f"{stated} bytes"))


def _other_size(file: RemoteFile, found: str) -> str:
    return (
        f"{file.place} has {found}, the registry says {file.bytes}: it is another version, or a page about the file. "
        "Mend the registry. Nothing of it is kept."
    )


def _validator(answer: httpx.Response) -> str:
    """A weak ETag promises no equal bytes, so the date stands for it (RFC 9110, 8.8.1)."""
    tag = str(answer.headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _in_words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "the server does not answer in time"
    if isinstance(error, httpx.ConnectError):
        return f"the server cannot be reached ({error})"
    return "the connection broke"
