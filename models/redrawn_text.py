"""Warns where a restoration redrew small text: a network that draws letters may draw other letters.

Text is found by what distinguishes it from other detail: blocks of two distinct tones with many vertical edges, several
of them in a row.  It counts as redrawn if its fine structure correlates less with the photo's than the removal of noise
explains.  A correlation does not mind that a repair makes everything brighter or richer in contrast.

models.redrawn_faces has the check for faces.

Shapes:  H W pixels, R C rows and columns of blocks.  Images are RGB (3, H, W), see models.pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.pixels import floats
from models.restoration_report import Change
from models.warning_codes import CodedWarning

BLOCK_PX = 16
STRIP_BLOCKS = 64
"""Rows of blocks that are looked at together, so that a large photo needs little memory."""
MIN_EDGE_LEVELS, MIN_EDGES, MAX_EDGES = 48.0, 0.05, 0.6
MIN_CONTRAST_LEVELS, TONE_WIDTH, MIN_TONED = 80.0, 0.25, 0.7
IN_A_ROW = 4
MIN_CORRELATION, MIN_REDRAWN_BLOCKS, MIN_REDRAWN_SHARE = 0.6, 4, 0.2
MIN_CHANGE_LEVELS = 40.0
"""Letters that become others change by more somewhere."""


def redrawn_text(before: Tensor, after: Tensor, change: Change) -> tuple[CodedWarning, ...]:
    """Returns a warning if small text was redrawn; `change` is that of the whole image."""
    if change.max_levels < MIN_CHANGE_LEVELS or min(before.shape[-2:]) < IN_A_ROW * BLOCK_PX:
        return ()
    strips = [
        _blocks(before[:, top : top + STRIP_BLOCKS * BLOCK_PX], after[:, top : top + STRIP_BLOCKS * BLOCK_PX])
        for top in range(0, before.shape[-2] - BLOCK_PX + 1, STRIP_BLOCKS * BLOCK_PX)
    ]
    is_text, correlation, energy, difference = (torch.cat(parts) for parts in zip(*strips, strict=True))
    if int(is_text.sum()) < MIN_REDRAWN_BLOCKS:
        return ()
    noise = difference[~is_text].median() if bool((~is_text).any()) else difference.new_zeros(())
    explained = (1 - noise / energy.clamp_min(1.0)).clamp(0.1, 1.0).sqrt()
    redrawn = is_text & (correlation / explained < MIN_CORRELATION)
    count, share = int(redrawn.sum()), float(redrawn.sum() / is_text.sum())
    if count < MIN_REDRAWN_BLOCKS or share < MIN_REDRAWN_SHARE:
        return ()
    return (
        CodedWarning(
            f"small text was redrawn: {share:.0%} of it changed much more than its surroundings. "
            "Compare it with the photo before you rely on it",
            "redrawn-text",
        ),
    )


def _blocks(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns for each block of a strip, (R, C): is it text; correlation, energy and difference of its structure."""
    old, new = _luma(before), _luma(after).to(before.device)
    is_text = _is_text(old) | _is_text(new)
    old, new = (luma - _mean(luma)[:, None, :, None] for luma in (old, new))
    old_energy, new_energy = _mean(old.square()), _mean(new.square())
    correlation = _mean(old * new) / (old_energy * new_energy).sqrt().clamp_min(1e-6)
    difference = _mean(new.sub_(old).square_())
    return is_text.cpu(), correlation.cpu(), old_energy.cpu(), difference.cpu()


def _luma(image: Tensor) -> Tensor:
    """Returns the blocks of an image, (R, 16, C, 16) in levels of 8 bits, without those that are cut."""
    rows, columns = (side // BLOCK_PX for side in image.shape[-2:])
    red, green, blue = (floats(channel[: rows * BLOCK_PX, : columns * BLOCK_PX]) for channel in image)
    luma = (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114).add_(1).mul_(127.5)
    return luma.reshape(rows, BLOCK_PX, columns, BLOCK_PX)


def _mean(blocks: Tensor) -> Tensor:
    return blocks.mean(dim=(1, 3))


def _is_text(luma: Tensor) -> Tensor:
    """Returns (R, C) booleans."""
    edges = (luma[..., 1:] - luma[..., :-1]).abs_() > MIN_EDGE_LEVELS
    density = _mean(edges.float())
    low, high = luma.amin(dim=(1, 3)), luma.amax(dim=(1, 3))
    contrast = high - low
    # Between the tones lies what is darker than the bright one and brighter than the dark one
    margin = TONE_WIDTH * contrast
    between = (luma > (low + margin)[:, None, :, None]) & (luma < (high - margin)[:, None, :, None])
    toned = 1 - _mean(between.float())
    alike = (density > MIN_EDGES) & (density < MAX_EDGES) & (contrast > MIN_CONTRAST_LEVELS) & (toned > MIN_TONED)
    padded = F.pad(alike[None, None].float(), (IN_A_ROW - 1, IN_A_ROW - 1))
    rows = F.avg_pool2d(padded, (1, IN_A_ROW), stride=1)
    lines = F.max_pool2d((rows >= 0.74).float(), (1, IN_A_ROW), stride=1)[0, 0]
    return (lines > 0) & alike
