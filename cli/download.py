"""Downloads one file over HTTP: resumed, retried with growing pauses, and hashed while it arrives.

The bytes received so far are in NAME.part, and the server's ETag or date in NAME.part.tag.  A download is resumed with
Range and If-Range (RFC 9110, 13.1.5 and 14.2), so a file that changed on the server is sent whole.  A server without
ranges also sends it whole.
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

from cli.progress import OnBytes
from models.errors import BundleError
from models.registry_files import RemoteFile

BLOCK_BYTES = 2**20
PROGRESS_BYTES = 2**24
"""Attempts that together bring this much are not counted, so that an unreliable connection also succeeds."""
LONGEST_RETRY_AFTER_S = 300.0
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
RETRYABLE_STATUSES = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(Exception):
    """The server does not deliver the file, even after several attempts."""


class _RetryableError(Exception):
    """This attempt failed, but the next may succeed.  `after_s` is the pause that the server requests."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Number of attempts, and the pauses between them, which double from the first to the longest."""

    attempts: int = 6
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0


class PartialFile:
    """The received part of a file on disk, with its length and its running hash."""

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
        """The value for If-Range; empty if the server sent none, and then only the hash can detect a change."""
        return self._tag.read_text() if self._tag.is_file() else ""

    def restart(self, validator: str = "") -> None:
        """Delete the received bytes."""
        self.digest, self.bytes = hashlib.sha256(), 0
        self.path.write_bytes(b"")
        self._tag.write_text(validator)

    def append(self, blocks: Iterable[bytes]) -> Iterator[int]:
        """Write each block unbuffered, so that a kill losses nothing.  Yields the length after each block.

        Raises:
            BundleError: the disk is full or fails.
        """
        with self.path.open("ab", buffering=0) as file:
            for block in blocks:
                try:
                    left = memoryview(block)
                    while left:  # an almost full disk takes only a part
                        left = left[file.write(left) :]
                except OSError as error:
                    raise BundleError(
                        f"cannot write {self.path}: {error.strerror}. The received bytes are kept for the next attempt."
                    ) from error
                self._count(block)
                yield self.bytes

    def finish(self) -> None:
        """Give the file its final name."""
        self.path.replace(self.target)
        self._tag.unlink(missing_ok=True)

    def _count(self, block: bytes) -> None:
        self.digest.update(block)
        self.bytes += len(block)


def open_client() -> httpx.Client:
    """Returns a client that uses the environment's proxies and certificates (HTTPS_PROXY, SSL_CERT_FILE).

    Raises:
        DownloadError: the proxy cannot be used.
    """
    # A compressed response has neither the length nor the offsets of the file
    headers = {"Accept-Encoding": "identity", "User-Agent": f"undegrade/{version('undegrade')}"}
    try:
        return httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers=headers)
    except (ImportError, ValueError) as error:  # SOCKS without its package; a value that is not an address
        raise DownloadError(f"cannot use the proxy of the environment: {error}. Change HTTPS_PROXY.") from error


def finish_part(file: RemoteFile, target: Path) -> None:
    """Give a completely received part its final name.  Does not use the network."""
    if not target.is_file():
        part = PartialFile(target)
        if (part.bytes, part.digest.hexdigest()) == (file.bytes, file.sha256):
            part.finish()


def download(
    client: httpx.Client,
    file: RemoteFile,
    target: Path,
    on_bytes: OnBytes,
    on_pause: Callable[[str], None],
    policy: RetryPolicy | None = None,
) -> None:
    """Download a file to `target`, which appears when it is complete and its hash is right.

    Args:
        on_pause: called with the reason before each pause.

    Raises:
        BundleError: the file on the server is not the one in the registry; nothing of it is kept.
        DownloadError: the server does not deliver it; the received bytes are kept for the next attempt.
    """
    policy, part = policy or RetryPolicy(), PartialFile(target)
    while True:
        before = part.bytes
        try:
            for attempt in _attempts(policy, on_pause):
                with attempt:
                    _attempt(client, file, part, on_bytes)
            return
        except _RetryableError as error:
            if part.bytes - before < PROGRESS_BYTES:
                raise DownloadError(
                    f"cannot download {file.place}: {error}, {policy.attempts} times. Received {part.bytes} of "
                    f"{file.bytes} bytes; run the same command to continue."
                ) from error


def _attempts(policy: RetryPolicy, on_pause: Callable[[str], None]) -> Retrying:
    backoff = wait_exponential(multiplier=policy.first_pause_s, max=policy.longest_pause_s)
    jittered = backoff + wait_random(0, policy.first_pause_s)

    def pause_s(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        requested_s = error.after_s if isinstance(error, _RetryableError) else 0.0
        return max(jittered(state), min(requested_s, LONGEST_RETRY_AFTER_S))

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        on_pause(f"{error}; trying again in {state.upcoming_sleep:.0f} s")

    return Retrying(
        retry=retry_if_exception_type(_RetryableError), stop=stop_after_attempt(policy.attempts), wait=pause_s,
        before_sleep=report, reraise=True,
    )  # fmt: skip


def _attempt(client: httpx.Client, file: RemoteFile, part: PartialFile, on_bytes: OnBytes) -> None:
    """Request the missing bytes once, and finish the file."""
    if part.bytes > file.bytes:
        part.restart()
    resumed = part.bytes > 0
    if part.bytes < file.bytes:
        resumed = _receive(client, file, part, on_bytes)
    if part.bytes < file.bytes:
        raise _RetryableError("the connection ended early")
    if (found := part.digest.hexdigest()) != file.sha256:
        part.restart()
        if resumed:  # the first part may be of an older file
            raise _RetryableError("the received parts do not belong to one file")
        raise BundleError(
            f"{file.place} has sha256 {found[:12]}…, the registry has {file.sha256[:12]}…: "
            "the file was changed, or the registry is wrong. Nothing of it is kept."
        )
    part.finish()


def _receive(client: httpx.Client, file: RemoteFile, part: PartialFile, on_bytes: OnBytes) -> bool:
    """Append what the server sends.  Returns whether it resumed the part."""
    headers = {}
    if part.bytes:
        headers["Range"] = f"bytes={part.bytes}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        with client.stream("GET", file.url, headers=headers) as response:
            resumed = _check_head(response, file, part)
            on_bytes(part.bytes, file.bytes)
            for size_bytes in part.append(response.iter_raw()):  # a chunk size would lose the last bytes of a cut
                on_bytes(size_bytes, file.bytes)
                if size_bytes > file.bytes:
                    part.restart()
                    raise BundleError(_wrong_size(file, "more bytes"))
    except httpx.TransportError as error:
        raise _RetryableError(_describe(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(f"cannot download {file.place}: {error}. Check the URL in the registry.") from error
    return resumed


def _check_head(response: httpx.Response, file: RemoteFile, part: PartialFile) -> bool:
    """Check status and headers.  Returns True if the body resumes the part; else the part is restarted."""
    status = response.status_code
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if content_range is None or int(content_range[1]) != part.bytes:
            part.restart()
            raise _RetryableError("the server sent another range than requested")
        _check_size(file, part, content_range[2])
        return True
    if status == http.HTTPStatus.OK:
        _check_size(file, part, response.headers.get("Content-Length", "*"))
        part.restart(_validator(response))
        return False
    if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.restart()
        raise _RetryableError("the file on the server is shorter than the received part")
    status_line = f"{status} {response.reason_phrase}".strip()
    if status in RETRYABLE_STATUSES:
        retry_after = response.headers.get("Retry-After", "")
        after_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
        raise _RetryableError(f"the server answered {status_line}", after_s)
    raise DownloadError(f"{file.place} answered {status_line}. Check the URL in the registry, and any login it needs.")


def _check_size(file: RemoteFile, part: PartialFile, stated: str) -> None:
    if stated.isascii() and stated.isdigit() and int(stated) != file.bytes:
        part.restart()
        raise BundleError(_wrong_size(file, f"{stated} bytes"))


def _wrong_size(file: RemoteFile, found: str) -> str:
    return (
        f"{file.place} has {found}, the registry has {file.bytes}: it is another version, or a web page. "
        "Correct the registry. Nothing of it is kept."
    )


def _validator(response: httpx.Response) -> str:
    """Returns the ETag, or else the date.  A weak ETag does not promise equal bytes (RFC 9110, 8.8.1)."""
    tag = str(response.headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(response.headers.get("Last-Modified", ""))


def _describe(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "the server does not answer in time"
    if isinstance(error, httpx.ConnectError):
        return f"the server cannot be reached ({error})"
    return "the connection broke"
