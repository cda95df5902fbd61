"""A bundle out of a tar archive: its regular files, which lie in one folder, and nothing else."""

import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from models.errors import BundleError
from models.folders import MANIFEST


def unpack(archive: Path, folder: Path) -> None:
    """Write the archive's bundle into `folder`; names lose their folders, so none can lead out of it.

    Raises:
        BundleError: it is no tar, is damaged, holds links or several folders, or no bundle; or the disk is too small.
    """
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            for member in _files(archive, tar):
                source = tar.extractfile(member)
                assert source is not None, "a regular file"
                if (free := shutil.disk_usage(folder).free) < member.size:
                    raise BundleError(f"{folder} has {free / 1e9:.1f} GB free, expected {member.size / 1e9:.1f}.")
                with source, (folder / PurePosixPath(member.name).name).open("xb") as target:
                    shutil.copyfileobj(source, target, 2**20)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise BundleError(
            f"{archive.name} cannot be unpacked: {error}. It wants to be a tar file of a bundle."
        ) from error
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{archive.name} holds no {MANIFEST}, so it is no bundle. Mend the registry's entry.")


def _files(archive: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    parents = set()
    for member in tar:
        if member.isdir():
            continue
        path = PurePosixPath(member.name)
        parents.add(path.parent)
        if not member.isreg() or len(parents) > 1 or path.name.startswith("."):
            raise BundleError(
                f"{archive.name} holds {member.name}: a bundle is plain files in one folder. Mend the registry's entry."
            )
        yield member
