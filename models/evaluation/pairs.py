"""Degraded pictures and their ground truths, found in a folder: TASK/lq/NAME beside TASK/gt/NAME.

A task without a gt folder has only detection and time to measure.  Where lq is smaller than gt (super-resolution), it
is enlarged with bicubic first, and that enlarged picture is the input: what a user would otherwise have.

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
GRID_PX = 8
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
"""The right dominant label of each task's inputs; other tasks (underwater) are measured, but have none."""

NAMED_LABELS: tuple[tuple[str, str], ...] = (
    (r"autodir_blur", "blur"),
    (r"autodir_lowlight|dicm_", "low-light"),
    (r"autodir_rain|realrain_", "rain"),
    (r"autodir_sr", "low-resolution"),
    (r"raindrop_", "raindrop"),
    (r"rni15_", "noise"),
    (r"rtts_", "haze"),
)
"""Labels of mixed tasks (`real`) by the start of the file's name; first match wins."""

SUBSETS: tuple[tuple[str, str, str], ...] = (
    ("denoise", r"cbsd68_\w+_s(\d+)", r"CBSD68 noise \1"),
    ("denoise", r"nam_", "Nam (camera noise)"),
    ("deblur", r"gopro_", "GoPro"),
    ("derain", r"rain100l_", "Rain100L"),
    ("derain", r"rain100h_", "Rain100H"),
    ("derain", r"rain1400_", "Rain1400"),
    ("dehaze", r"sots_in_", "SOTS indoor"),
    ("dehaze", r"sots_out_", "SOTS outdoor"),
    ("dehaze", r"revide_", "REVIDE (real haze)"),
    ("lowlight", r"lol_", "LOL"),
    ("lowlight", r"lolv2real_", "LOL-v2 real"),
    ("raindrop", r"raindrop_", "RainDrop"),
    ("sr", r"set5_", "Set5 x4"),
    ("sr", r"set14_", "Set14 x4"),
    ("sr", r"bsd100_", "BSD100 x4"),
    ("sr", r"urban100_", "Urban100 x4"),
    ("jpeg", r"live1_\w+_q(\d+)", r"LIVE1 q\1"),
    ("shadow", r"srd_", "SRD"),
    ("inpaint", r"celebahq_", "CelebA-HQ thin masks"),
    ("inpaint", r"places2_", "Places2"),
    ("underwater", r"euvp_", "EUVP"),
    ("underwater", r"lsui_", "LSUI"),
    ("underwater", r"ufo120_", "UFO-120 x2"),
)
"""(task, start of the file's name, subset); first match wins; a file that none matches belongs to its task alone."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture to restore, and what it should come back as.

    `truth` is None where a task has no ground truths; `expected` is the right dominant label, None where there is none.
    """

    task: str
    subset: str
    name: str  # unique within the task
    degraded: Path
    truth: Path | None
    expected: str | None


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A pair's pixels, of one size; `whole` is that size before the crop, (height, width)."""

    degraded: Picture
    truth: Picture | None
    whole: tuple[int, int]


def find_pairs(folder: Path, tasks: Sequence[str] = (), limit: int | None = None) -> list[Pair]:
    """The pairs of a folder, by task and name; of each subset the first `limit`, so that a long run holds a short one.

    Raises:
        ControlsError: the folder holds no task, or not one of those asked for.
    """
    there = sorted(entry.parent.name for entry in folder.glob("*/lq") if entry.is_dir())
    if not there:
        raise ControlsError(f"{folder} holds no TASK/lq folder; lay it out as TASK/lq/NAME and TASK/gt/NAME")
    for task in tasks:
        if task not in there:
            raise ControlsError(f"got task {task!r}, expected one of those in {folder}: {', '.join(there)}")
    wanted = [task for task in there if not tasks or task in tasks]
    return _first_of_each(chain.from_iterable(_pairs_of(folder / task) for task in wanted), limit)


def clean_pairs(pairs: Iterable[Pair], limit: int) -> list[Pair]:
    """Up to `limit` ground truths as inputs: photographs with nothing to repair, no two with the same bytes.

    Taken in turn from every task that has a label, so that a few already differ; the truths of other tasks are not all
    photographs (underwater's are other programs' results).
    """
    by_task: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.truth is not None and pair.truth.is_file() and pair.task in LABELS:
            by_task.setdefault(pair.task, []).append(_as_clean(pair.task, pair.truth))
    chosen: dict[str, Pair] = {}
    for photograph in chain.from_iterable(zip_longest(*by_task.values())):
        if len(chosen) >= limit:
            break
        if photograph is not None:
            chosen.setdefault(sha256(photograph.degraded.read_bytes()).hexdigest(), photograph)
    return list(chosen.values())


def read_pictures(pair: Pair, crop_px: int = 0) -> Pictures:
    """A pair's pixels, the input enlarged to the truth's size where it is smaller; center crops unless `crop_px` is 0.

    Raises:
        PhotoError: a file cannot be read, or the two cannot be of one scene by their sizes.
    """
    degraded = read_picture(pair.degraded)
    truth = None if pair.truth is None else read_picture(pair.truth)
    if truth is not None:
        degraded = _enlarged(degraded, truth.shape[1], truth.shape[0], pair.name)
        truth = center_crop(truth, crop_px)
    height, width = degraded.shape[:2]
    return Pictures(degraded=center_crop(degraded, crop_px), truth=truth, whole=(height, width))


def read_picture(path: Path) -> Picture:
    """A file's pixels.

    Raises:
        PhotoError: it cannot be read.
    """
    return _eight_bits(read_photo(path).pixels)


def center_crop(picture: Picture, side_px: int) -> Picture:
    """At most `side_px` a side from the middle; 0 is the whole picture.

    It starts on a multiple of 8 px, so that JPEG's blocks lie where they lie in whole files.
    """
    if not side_px:
        return picture
    height, width = picture.shape[:2]
    top, left = (max(length - side_px, 0) // 2 // GRID_PX * GRID_PX for length in (height, width))
    return picture[top : top + side_px, left : left + side_px]


def _pairs_of(folder: Path) -> list[Pair]:
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
    """The file of the same name, or else of the same stem; one that is missing is found out when it is read."""
    same = folder / name
    if same.exists() or not same.parent.is_dir():
        return same
    # compared, not globbed: a name may hold brackets
    others = (path for path in same.parent.iterdir() if path.stem == same.stem and path.suffix.lower() in SUFFIXES)
    return min(others, default=same)


def _subset(task: str, name: str) -> str:
    for of_task, start, subset in SUBSETS:
        match = re.match(start, name)
        if of_task == task and match:
            return match.expand(subset)
    return task


def _label(task: str, name: str) -> str | None:
    if task != "real":
        return LABELS.get(task)
    return next((label for start, label in NAMED_LABELS if re.match(start, name)), None)


def _first_of_each(pairs: Iterable[Pair], limit: int | None) -> list[Pair]:
    taken: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        subset = taken.setdefault((pair.task, pair.subset), [])
        if limit is None or len(subset) < limit:
            subset.append(pair)
    return [pair for subset in taken.values() for pair in subset]


def _as_clean(task: str, photograph: Path) -> Pair:
    return Pair(
        task=CLEAN,
        subset=f"of {task}",
        name=f"{task}/{photograph.name}",
        degraded=photograph,
        truth=photograph,
        expected=CLEAN,
    )


def _eight_bits(pixels: Pixels) -> Picture:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    return np.round(pixels / 257.0).astype(np.uint8)


def _enlarged(picture: Picture, width: int, height: int, name: str) -> Picture:
    own_height, own_width = picture.shape[:2]
    if (own_width, own_height) == (width, height):
        return picture
    across, down = width / own_width, height / own_height
    if min(across, down) < 1 or abs(across / down - 1) > ASPECT_TOLERANCE:
        raise PhotoError(
            f"{name}: got an input of {own_width}x{own_height} px and a ground truth of {width}x{height} px, "
            "expected one size, or a smaller input of the same proportions"
        )
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
