"""Opens checkpoints from untrusted sources.

Only tensors and plain containers are unpickled, and tensors stay on disk (memory-mapped) until they are read.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.errors import BundleError

PARALLEL_PREFIX = "module."
"""The prefix that torch's DataParallel adds to every key."""


class Ignored:
    """Replaces the numpy scalars in an optimizer's settings, so that no numpy code runs."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


IGNORED = [
    (Ignored, name)
    for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode")
]
"""Globals of training checkpoints that torch does not consider safe, each with its replacement."""

DOWNLOAD_AGAIN = "Download it again, or check that it is the right file."


def open_checkpoint(path: Path) -> dict[str, Tensor]:
    """Returns the `state_dict` of a checkpoint, without the prefix `module.` of its keys.

    Raises:
        BundleError: the file is missing, truncated, not a checkpoint, or needs code to be run.
    """
    _check_file(path)
    try:
        with torch.serialization.safe_globals(IGNORED):  # type: ignore[arg-type]  # its code accepts pairs, too
            loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise BundleError(_unsafe(path, str(error))) from error
    except Exception as error:  # torch and its unpickler raise many types for damaged data
        raise BundleError(f"{path} is damaged, or a ZIP archive without a checkpoint. {DOWNLOAD_AGAIN}") from error
    return _state(path, loaded)


def _check_file(path: Path) -> None:
    """Recognize files that are often saved by mistake, so that the message can name them."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}. Give the path of the checkpoint file.") from error
    if not head:
        raise BundleError(f"{path} is empty. {DOWNLOAD_AGAIN}")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BundleError(f"{path} is a web page, not a checkpoint. Download the file itself, not its page.")
    if head.startswith(b"version https://git-lfs"):
        raise BundleError(f"{path} is a git-lfs pointer, not the file itself. Run `git lfs pull`.")
    if not head.startswith(b"PK"):
        raise BundleError(f"{path} is not a checkpoint written by torch.save (a ZIP archive). {DOWNLOAD_AGAIN}")
    if not zipfile.is_zipfile(path):
        raise BundleError(f"{path} is truncated: the end of the ZIP archive is missing. {DOWNLOAD_AGAIN}")


def _unsafe(path: Path, message: str) -> str:
    """Returns our message for a refused global; torch's message advises to switch the protection off."""
    named = re.search(r"GLOBAL ([\w.]+)", message) or re.search(
        r"\b([a-z_]+(?:\.\w+)+) (?:was not|is not|but)", message
    )
    if named:
        return f"{path} requires {named[1]}, which may run code, so it was not loaded. {DOWNLOAD_AGAIN}"
    return f"{path} contains more than tensors, which may run code, so it was not loaded. {DOWNLOAD_AGAIN}"


def _state(path: Path, loaded: object) -> dict[str, Tensor]:
    state = loaded
    if isinstance(loaded, Mapping):
        state = loaded.get("state_dict", loaded.get("params", loaded))  # "params": BasicSR's
    if not isinstance(state, Mapping) or not state:
        raise BundleError(f"{path} contains a {type(state).__name__}, expected a state_dict. {DOWNLOAD_AGAIN}")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise BundleError(f"{path}: {key!r} is a {type(value).__name__}, expected a tensor. {DOWNLOAD_AGAIN}")
    if all(key.startswith(PARALLEL_PREFIX) for key in state):
        return {key.removeprefix(PARALLEL_PREFIX): value for key, value in state.items()}
    return dict(state)
