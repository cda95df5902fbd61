"""Warns where a restoration redrew a face: a network that draws a face may draw another person's.

Faces are found by the cascade of local binary patterns that the package `scikit-image` contains (the extra `faces`);
without it, nothing is looked for, and the report does not list faces among what was checked.  A face counts if it is
found in the mirrored image, too, and is large enough: of 146 test photos, one without a face was taken for one with.
Small, turned and covered faces are missed.  Looking takes about 0.2 s of a core for each restored photo.

A face is compared at one size, whatever its own, so that most noise is gone.  It counts as redrawn if its structure
correlates less with the photo's than the removal of noise explains, as in models.redrawn_text.

Shapes:  H W pixels.  Images are RGB (3, H, W), see models.pixels.
"""

from functools import lru_cache
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.pixels import floats
from models.restoration_report import Change
from models.warning_codes import CodedWarning

Box = tuple[int, int, int, int]
"""x, y, width and height in pixels."""
LOOK_PX, MIN_FACE_PX = 512, 40
"""The longer side of the image that is looked at, and the smallest face in it."""
MIN_NEIGHBORS, SCALE_FACTOR, MIN_OVERLAP = 6, 1.2, 0.4
COMPARED_PX, GRID = 128, 8
"""The largest size at which a face is compared, and the rows of cells of which each is compared for itself."""
MIN_CHANGE_LEVELS = 20.0
MIN_ENERGY, MIN_CORRELATION, MIN_CELLS, MIN_SHARE = 60.0, 0.6, 6, 0.3
"""A cell with less energy (levels squared) is smooth skin, where noise is all that there is."""

REDRAWN_FACE = CodedWarning(
    "a face was redrawn: it may show other features than the person has. "
    "Compare it with the photo before you rely on it",
    "redrawn-face",
)


def faces_are_checked() -> bool:
    """Returns whether the package that finds faces is installed."""
    return find_spec("skimage") is not None


def redrawn_faces(before: Tensor, after: Tensor, change: Change) -> tuple[CodedWarning, ...]:
    """Returns a warning if a face was redrawn; `change` is that of the whole image."""
    if change.max_levels < MIN_CHANGE_LEVELS or min(before.shape[-2:]) < MIN_FACE_PX or not faces_are_checked():
        return ()
    old, new = _small(before), _small(after)
    boxes = find_faces(old) or find_faces(new)
    scale = before.shape[-1] / old.shape[1]
    if not any(_is_redrawn(before, after, box, scale) for box in boxes):
        return ()
    return (REDRAWN_FACE,)


def find_faces(pixels: NDArray[np.uint8]) -> list[Box]:
    """Returns the faces in an image (H, W, 3) of at most LOOK_PX a side."""
    if min(pixels.shape[:2]) < MIN_FACE_PX:
        return []
    found = _looked_for(pixels)
    if not found:
        return []
    width = pixels.shape[1]
    mirrored = [(width - x - w, y, w, h) for x, y, w, h in _looked_for(np.ascontiguousarray(pixels[:, ::-1]))]
    return [box for box in found if any(_overlap(box, other) > MIN_OVERLAP for other in mirrored)]


def _looked_for(pixels: NDArray[np.uint8]) -> list[Box]:
    side = min(pixels.shape[:2])
    found = _cascade().detect_multi_scale(
        img=pixels, scale_factor=SCALE_FACTOR, step_ratio=1, min_size=(MIN_FACE_PX, MIN_FACE_PX),
        max_size=(side, side), min_neighbor_number=MIN_NEIGHBORS,
    )  # fmt: skip
    return [(int(box["c"]), int(box["r"]), int(box["width"]), int(box["height"])) for box in found]


@lru_cache(maxsize=1)
def _cascade() -> Any:  # noqa: ANN401 - scikit-image has no types
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())


def _overlap(one: Box, two: Box) -> float:
    """Returns the intersection of two boxes as a share of their union."""
    width = min(one[0] + one[2], two[0] + two[2]) - max(one[0], two[0])
    height = min(one[1] + one[3], two[1] + two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (one[2] * one[3] + two[2] * two[3] - width * height)


def _small(image: Tensor) -> NDArray[np.uint8]:
    """Returns an image (H, W, 3) for the search, reduced by the mean of its pixels."""
    shrink = max(1.0, max(image.shape[-2:]) / LOOK_PX)
    height, width = (max(1, round(side / shrink)) for side in image.shape[-2:])
    small = F.adaptive_avg_pool2d(floats(image), (height, width))
    levels = small.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return cast("NDArray[np.uint8]", np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy()))


def _is_redrawn(before: Tensor, after: Tensor, box: Box, scale: float) -> bool:
    old_face, new_face = (_face(image, box, scale) for image in (before, after))
    old, new = _cells(old_face), _cells(new_face)
    old_energy, new_energy = old.square().mean(1), new.square().mean(1)
    counts = new_energy > MIN_ENERGY
    correlation = (old * new).mean(1) / (old_energy * new_energy).sqrt().clamp_min(1e-6)
    explained = (1 - _noise(old_face) / old_energy.clamp_min(1.0)).clamp(0.05, 1.0).sqrt()
    redrawn = counts & (correlation / explained < MIN_CORRELATION)
    return int(redrawn.sum()) >= MIN_CELLS and float(redrawn.sum() / counts.sum()) >= MIN_SHARE


def _face(image: Tensor, box: Box, scale: float) -> Tensor:
    """Returns the brightness of a face, (1, 1, S, S), in levels of 8 bits."""
    left, top, width, height = (round(value * scale) for value in box)
    red, green, blue = floats(image[:, top : top + height, left : left + width]).float().cpu()
    luma = (red * 0.299 + green * 0.587 + blue * 0.114).mul(127.5)[None, None]
    side = min(COMPARED_PX, max(COMPARED_PX // 2, width // GRID * GRID))
    return F.interpolate(luma, (side, side), mode="bilinear", antialias=True)


def _cells(face: Tensor) -> Tensor:
    """Returns the cells of a face without their means, (GRID * GRID, pixels)."""
    side = face.shape[-1] // GRID
    cells = F.unfold(face, side, stride=side)[0].T
    return cells - cells.mean(1, keepdim=True)


def _noise(face: Tensor) -> Tensor:
    """Returns the variance of the noise: the median of the finest diagonal details (Donoho and Johnstone 1994)."""
    diagonal = (face[..., ::2, ::2] - face[..., 1::2, ::2] - face[..., ::2, 1::2] + face[..., 1::2, 1::2]) / 2
    return (diagonal.abs().median() / 0.6745).square()
