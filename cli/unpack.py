"""Unpacks a bundle from a tar archive.

`tarfile`'s own "data" filter would accept links and nested folders.  A bundle has neither, so both are refused.
"""

import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from models.errors import BundleError
from models.folders import MANIFEST

COPY_BLOCK_BYTES = 2**20


def unpack(archive: Path, folder: Path) -> None:
    """Write the bundle in the archive into `folder`.  Only the last part of a name is used, so no file can escape.

    Raises:
        BundleError: the archive is damaged, contains links or several folders, or no bundle; or the disk is too small.
    """
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            for member in _files(archive, tar):
                source = tar.extractfile(member)
                assert source is not None, "a regular file"
                if (free := shutil.disk_usage(folder).free) < member.size:
                    raise BundleError(f"{folder} has {free / 1e9:.2f} GB free, expected {member.size / 1e9:.2f}.")
                with source, (folder / PurePosixPath(member.name).name).open("xb") as target:
                    shutil.copyfileobj(source, target, COPY_BLOCK_BYTES)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise BundleError(
            f"{archive.name} cannot be unpacked: {error}. Expected a tar file that contains a bundle."
        ) from error
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{archive.name} contains no {MANIFEST}, so it is not a bundle. Correct the registry entry.")


def _files(archive: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    parents = set()
    for member in tar:
        if member.isdir():
            continue
        path = PurePosixPath(member.name)
        parents.add(path.parent)
        if not member.isreg() or len(parents) > 1 or path.name.startswith("."):
            raise BundleError(
                f"{archive.name} contains {member.name}, but a bundle has only regular files in one folder. "
                "Correct the registry entry."
            )
        yield member
