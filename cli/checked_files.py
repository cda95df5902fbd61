"""Compares files on disk with the size and hashes of a registry."""

import base64
import hashlib
from pathlib import Path

from models.errors import BundleError
from models.registry_files import ListedFile, NpmFile

BLOCK_BYTES = 2**20


def is_complete(file: ListedFile, target: Path) -> bool:
    """Returns whether the file is on disk with the right size and hash.  Does not use the network.

    Raises:
        BundleError: another file is there.
    """
    if not target.is_file():
        return False
    if difference := difference_of(file, target):
        raise BundleError(f"{target} has {difference}. Remove the file, or correct the registry.")
    return True


def difference_of(file: ListedFile, path: Path) -> str:
    """Returns how the file at `path` differs from the one in the registry; empty if it is that file."""
    found, integrity = _hashes(path)
    if found != file.sha256:
        return f"sha256 {found[:12]}…, the registry has {file.sha256[:12]}…"
    if isinstance(file, NpmFile) and integrity != file.integrity:
        return f"the integrity {integrity[:19]}…, the registry has {file.integrity[:19]}…"
    return ""


def _hashes(path: Path) -> tuple[str, str]:
    """Returns the sha256 in hexadecimal, and the sha512 as npm writes it."""
    sha256, sha512 = hashlib.sha256(), hashlib.sha512()
    with path.open("rb") as content:
        while block := content.read(BLOCK_BYTES):
            sha256.update(block)
            sha512.update(block)
    return sha256.hexdigest(), "sha512-" + base64.b64encode(sha512.digest()).decode()
