"""The converters and checkers by their names on the command line."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from models.bundle import Manifest
from models.convert.autodir.check import check_autodir
from models.convert.autodir.conversion import convert_autodir
from models.convert.bundle_writer import OnProgress
from models.convert.daclip.check import check_daclip, check_nafnet, check_unet, check_wild
from models.convert.daclip.conversion import convert_daclip
from models.convert.dat.check import check_dat
from models.convert.dat.conversion import convert_dat
from models.convert.etdiffir.check import check_erunet
from models.convert.etdiffir.conversion import convert_etdiffir
from models.convert.maxim.check import check_maxim
from models.convert.maxim.conversion import convert_maxim
from models.convert.verdicts import Row
from models.errors import ControlsError

Convert = Callable[[Sequence[Path], Path, torch.dtype, OnProgress | None], Manifest]
"""(checkpoint files, the bundle's folder, the dtype of stored weights, progress) -> the manifest."""

Check = Callable[[Path, Path, OnProgress | None], Iterator[Row | str]]
"""(checkpoint, folder of vectors, progress) -> rows, and the names of missing vector files."""


def _autodir(files: Sequence[Path], out: Path, dtype: torch.dtype, on_progress: OnProgress | None) -> Manifest:
    if len(files) != 1:
        raise ControlsError(f"got {len(files)} files, expected one: the released autodir.ckpt.")
    return convert_autodir(files[0], out, dtype, on_progress)


CONVERTERS: dict[str, Convert] = {
    "autodir": _autodir,
    "daclip": convert_daclip,
    "daclip-wild": partial(convert_daclip, wild=True),
    "etdiffir": convert_etdiffir,
    "maxim": convert_maxim,
    "dat": convert_dat,
}
ON_A_BASE: dict[str, Callable[..., Manifest]] = {"maxim": convert_maxim, "dat": convert_dat}
"""Converters that join their networks with a bundle, which may be given as `base`."""
CHECKERS: dict[str, Check] = {
    "autodir": check_autodir,
    "daclip": check_daclip,
    "unet": check_unet,
    "wild": check_wild,
    "erunet": check_erunet,
    "nafnet": check_nafnet,
    "maxim": check_maxim,
    "dat": check_dat,
}
