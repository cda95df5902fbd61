"""Finds degraded photos and their ground truths in a folder: TASK/lq/NAME and TASK/gt/NAME.

For a task without a gt folder, only labels and time are measured.  If an lq photo is smaller than its gt photo
(super-resolution), it is enlarged with bicubic interpolation first, and the enlarged photo is the input.

Shapes:  H W pixels.  Pictures are RGB (H, W, 3) uint8.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import ControlsError, PhotoError
from models.photo.read import read_photo
from models.pixels import Pixels
from models.vocabulary import CLEAN

Picture = NDArray[np.uint8]  # (H, W, 3)

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif"}
JPEG_BLOCK_PX = 8
ASPECT_TOLERANCE = 0.05

LABELS = {
    "denoise": "noise",
    "deblur": "blur",
    "derain": "rain",
    "dehaze": "haze",
    "lowlight": "low-light",
    "raindrop": "raindrop",
    "sr": "low-resolution",
    "jpeg": "jpeg",
    "snow": "snow",
    "shadow": "shadow",
    "inpaint": "inpainting",
}
"""The expected dominant label by task; other tasks (underwater) are measured without a label."""

LABELS_BY_FILE_NAME: tuple[tuple[str, str], ...] = (
    (r"autodir_blur", "blur"),
    (r"autodir_lowlight|dicm", "low-light"),
    (r"autodir_rain|realrain", "rain"),
    (r"autodir_sr", "low-resolution"),
    (r"(autodir_)?raindrop", "raindrop"),
    (r"rni15", "noise"),
    (r"rtts", "haze"),
)
"""Expected labels in the mixed task `real`, by the first words of the file name (see `_match`)."""

SUBSETS: tuple[tuple[str, str, str], ...] = (
    ("denoise", r"cbsd68_\w+?_s(\d+)", r"CBSD68 noise \1"),
    ("denoise", r"nam", "Nam (camera noise)"),
    ("deblur", r"gopro", "GoPro"),
    ("derain", r"rain100l", "Rain100L"),
    ("derain", r"rain100h", "Rain100H"),
    ("derain", r"rain1400", "Rain1400"),
    ("dehaze", r"sots_in", "SOTS indoor"),
    ("dehaze", r"sots_out", "SOTS outdoor"),
    ("dehaze", r"revide", "REVIDE (real haze)"),
    ("lowlight", r"lol", "LOL"),
    ("lowlight", r"lolv2real", "LOL-v2 real"),
    ("raindrop", r"raindrop", "RainDrop"),
    ("sr", r"set5", "Set5 x4"),
    ("sr", r"set14", "Set14 x4"),
    ("sr", r"bsd100", "BSD100 x4"),
    ("sr", r"urban100", "Urban100 x4"),
    ("jpeg", r"live1_\w+?_q(\d+)", r"LIVE1 q\1"),
    ("shadow", r"srd", "SRD"),
    ("inpaint", r"celebahq", "CelebA-HQ thin masks"),
    ("inpaint", r"places2", "Places2"),
    ("underwater", r"euvp", "EUVP"),
    ("underwater", r"lsui", "LSUI"),
    ("underwater", r"ufo120", "UFO-120 x2"),
)
"""(task, first words of the file name, subset).  Without a match (see `_match`), the subset is the task."""

_WORD_END = r"(?:(?<=\d)(?![^\W_])|(?<=[^\W\d_])(?![^\W\d_]))"
"""After a letter no letter may follow, so that `rain` is not found in `raindrop`; after a digit no letter or digit."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A photo to restore, and its ground truth.

    `truth` is None if the task has no ground truths; `expected` is the expected dominant label, or None.
    """

    task: str
    subset: str
    name: str  # unique within the task
    degraded: Path
    truth: Path | None
    expected: str | None


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pixels of a pair, both of the same size; `whole` is their (height, width) before the crop."""

    degraded: Picture
    truth: Picture | None
    whole: tuple[int, int]


def find_pairs(folder: Path, tasks: Sequence[str] = (), limit: int | None = None) -> list[Pair]:
    """Returns the pairs of a folder by task and name, at most `limit` of each subset.

    A higher limit adds pairs and drops none.

    Raises:
        ControlsError: the folder contains no task, or not all requested tasks.
    """
    available = sorted(entry.parent.name for entry in folder.glob("*/lq") if entry.is_dir())
    if not available:
        raise ControlsError(f"{folder} contains no TASK/lq folder; expected TASK/lq/NAME and TASK/gt/NAME")
    for task in tasks:
        if task not in available:
            raise ControlsError(f"got task {task!r}, expected one of those in {folder}: {', '.join(available)}")
    wanted = [task for task in available if not tasks or task in tasks]
    return _limit_subsets(chain.from_iterable(_pairs_in_task(folder / task) for task in wanted), limit)


def clean_pairs(pairs: Iterable[Pair], limit: int) -> list[Pair]:
    """Returns up to `limit` ground truths as inputs with nothing to repair; no two have the same bytes.

    They are taken in turn from all tasks with a label, so that even a few are diverse.  Ground truths of other tasks
    are not always photos (those of underwater are results of other programs).
    """
    by_task: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.truth is not None and pair.truth.is_file() and pair.task in LABELS:
            by_task.setdefault(pair.task, []).append(_clean_pair(pair.task, pair.truth))
    chosen: dict[str, Pair] = {}
    for candidate in chain.from_iterable(zip_longest(*by_task.values())):
        if len(chosen) >= limit:
            break
        if candidate is not None:
            chosen.setdefault(sha256(candidate.degraded.read_bytes()).hexdigest(), candidate)
    return list(chosen.values())


def read_pictures(pair: Pair, crop_px: int = 0) -> Pictures:
    """Returns the pixels of a pair; an input smaller than its ground truth is enlarged to its size.

    Args:
        crop_px: the largest side of the center crops; 0 for whole photos.

    Raises:
        PhotoError: a file cannot be read, or the two sizes do not match.
    """
    degraded = read_picture(pair.degraded)
    truth = None if pair.truth is None else read_picture(pair.truth)
    if truth is not None:
        degraded = _enlarge(degraded, truth.shape[1], truth.shape[0], pair.name)
        truth = center_crop(truth, crop_px)
    height, width = degraded.shape[:2]
    return Pictures(degraded=center_crop(degraded, crop_px), truth=truth, whole=(height, width))


def read_picture(path: Path) -> Picture:
    """Returns the pixels of a file, in 8 bits.

    Raises:
        PhotoError: the file cannot be read.
    """
    return _to_8_bit(read_photo(path).pixels)


def center_crop(picture: Picture, side_px: int) -> Picture:
    """Returns at most `side_px` a side from the center; 0 returns the whole photo.

    The crop starts at a multiple of 8 px, so that it keeps the JPEG block grid.
    """
    if not side_px:
        return picture
    height, width = picture.shape[:2]
    top, left = (max(length - side_px, 0) // 2 // JPEG_BLOCK_PX * JPEG_BLOCK_PX for length in (height, width))
    return picture[top : top + side_px, left : left + side_px]


def _pairs_in_task(folder: Path) -> list[Pair]:
    task, truths = folder.name, folder / "gt"
    files = sorted(path for path in (folder / "lq").iterdir() if path.suffix.lower() in SUFFIXES)
    return [
        Pair(
            task=task,
            subset=_subset(task, path.name),
            name=path.name,
            degraded=path,
            truth=counterpart(path.name, truths) if truths.is_dir() else None,
            expected=_label(task, path.name),
        )
        for path in files
    ]


def counterpart(name: str, folder: Path) -> Path:
    """Returns the file with the same name, or with the same stem; a missing file causes an error when it is read."""
    same = folder / name
    if same.exists() or not same.parent.is_dir():
        return same
    # no glob: a name may contain brackets
    candidates = (path for path in same.parent.iterdir() if path.stem == same.stem and path.suffix.lower() in SUFFIXES)
    return min(candidates, default=same)


def _subset(task: str, name: str) -> str:
    for of_task, start, subset in SUBSETS:
        match = _match(start, name)
        if of_task == task and match:
            return match.expand(subset)
    return task


def _label(task: str, name: str) -> str | None:
    if task != "real":
        return LABELS.get(task)
    return next((label for start, label in LABELS_BY_FILE_NAME if _match(start, name)), None)


def _match(words: str, name: str) -> re.Match[str] | None:
    """Returns the match of whole words at the start of a file name: `rain` fits rain.png, rain_1 and rain2."""
    return re.match(f"(?:{words}){_WORD_END}", name)


def _limit_subsets(pairs: Iterable[Pair], limit: int | None) -> list[Pair]:
    taken: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        subset = taken.setdefault((pair.task, pair.subset), [])
        if limit is None or len(subset) < limit:
            subset.append(pair)
    return [pair for subset in taken.values() for pair in subset]


def _clean_pair(task: str, photo: Path) -> Pair:
    return Pair(
        task=CLEAN,
        subset=f"of {task}",
        name=f"{task}/{photo.name}",
        degraded=photo,
        truth=photo,
        expected=CLEAN,
    )


def _to_8_bit(pixels: Pixels) -> Picture:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    return np.round(pixels / 257.0).astype(np.uint8)


def _enlarge(picture: Picture, width: int, height: int, name: str) -> Picture:
    own_height, own_width = picture.shape[:2]
    if (own_width, own_height) == (width, height):
        return picture
    across, down = width / own_width, height / own_height
    if min(across, down) < 1 or abs(across / down - 1) > ASPECT_TOLERANCE:
        raise PhotoError(
            f"{name}: got an input of {own_width}x{own_height} px and a ground truth of {width}x{height} px, "
            "expected the same size, or a smaller input with the same aspect ratio"
        )
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
