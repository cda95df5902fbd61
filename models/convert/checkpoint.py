"""Opening a checkpoint that somebody else made: mapped, never unpickled beyond tensors and plain containers."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.errors import BundleError

PARALLEL = "module."
"""What torch's wrapper for several GPUs puts before every key."""


class Ignored:
    """Stands for the numpy scalars of an optimizer's settings: read as nothing, so that numpy runs nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


IGNORED = [
    (Ignored, name)
    for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode")
]
"""What training checkpoints hold beside tensors; torch's own list of what is safe has none of them."""

FETCH_AGAIN = "Fetch it again, or check that it is the file that was meant."


def open_checkpoint(path: Path) -> dict[str, Tensor]:
    """The `state_dict` of a checkpoint, without `module.` before its keys; tensors stay on disk until they are read.

    Raises:
        BundleError: it is missing, truncated, no checkpoint, or asks to run code.
    """
    _looks_like_one(path)
    try:
        with torch.serialization.safe_globals(IGNORED):  # type: ignore[arg-type]  # pairs too, says its code
            loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise BundleError(_unsafe(path, str(error))) from error
    except Exception as error:  # torch and its unpickler raise nearly anything on bytes that they did not write
        raise BundleError(f"{path} is damaged, or a zip archive of something else. {FETCH_AGAIN}") from error
    return _state(path, loaded)


def _looks_like_one(path: Path) -> None:
    """Cheap looks, so that what people save by mistake is called by its name."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}. Give the checkpoint's file.") from error
    if not head:
        raise BundleError(f"{path} is empty. {FETCH_AGAIN}")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BundleError(f"{path} is a web page, not a checkpoint. Download the file itself, not the page about it.")
    if head.startswith(b"version https://git-lfs"):
        raise BundleError(f"{path} is a git-lfs pointer, not the file that it points to. Run `git lfs pull`.")
    if not head.startswith(b"PK"):
        raise BundleError(f"{path} is no checkpoint that torch.save wrote (those are zip archives). {FETCH_AGAIN}")
    if not zipfile.is_zipfile(path):
        raise BundleError(f"{path} is truncated: a zip archive without its end. {FETCH_AGAIN}")


def _unsafe(path: Path, message: str) -> str:
    """torch's long advice is to switch the protection off; the name of what was asked for is enough."""
    named = re.search(r"GLOBAL ([\w.]+)", message) or re.search(
        r"\b([a-z_]+(?:\.\w+)+) (?:was not|is not|but)", message
    )
    if named:
        return f"{path} wants to load {named[1]}, which may run code; it was not. {FETCH_AGAIN}"
    return f"{path} holds more than tensors, which may run code; it was not read. {FETCH_AGAIN}"


def _state(path: Path, loaded: object) -> dict[str, Tensor]:
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not state:
        raise BundleError(f"{path} holds a {type(state).__name__}, expected a state_dict. {FETCH_AGAIN}")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise BundleError(f"{path}: {key!r} is a {type(value).__name__}, expected a tensor. {FETCH_AGAIN}")
    if all(key.startswith(PARALLEL) for key in state):
        return {key.removeprefix(PARALLEL): value for key, value in state.items()}
    return dict(state)
