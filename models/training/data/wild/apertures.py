"""Kernels with hard edges: a lens out of focus, a box, a straight motion.

Kernels are (K, K) float32, K odd, even where they are not zero, and sum to 1.
"""

import numpy as np
from numpy.typing import NDArray

LONGEST_PX = 15
"""Lines drawn for a larger kernel are 10 px shorter."""


def defocus_kernel(size: int) -> NDArray[np.float32]:
    """A disk of radius size // 2 + 1 about the center pixel; at 3 and 5 the corners are cut off as well."""
    axis = np.arange(size) - size // 2
    disk = axis[:, None] ** 2 + axis[None, :] ** 2 < (size // 2 + 1) ** 2
    if size <= 5:
        disk[[0, 0, -1, -1], [0, -1, 0, -1]] = False
    return _even(disk)


def box_kernel(size: int) -> NDArray[np.float32]:
    return _even(np.ones((size, size), dtype=bool))


def line_size(size: int) -> int:
    """The side of the kernel that a line of this nominal size gets."""
    return size - 10 if size > LONGEST_PX else size


def line_kernel(size: int, index: int) -> NDArray[np.float32]:
    """The `index`-th of the 2 * size - 2 distinct lines through the center, turning counter-clockwise from level."""
    (row, column), (last_row, last_column) = _ends(size, index)
    down, right = last_row - row, last_column - column
    steps = np.arange(max(abs(down), abs(right)) + 1)
    mask = np.zeros((size, size), dtype=bool)
    mask[row + _walk(down, steps), column + _walk(right, steps)] = True
    return _even(mask)


def _walk(distance: int, steps: NDArray[np.int_]) -> NDArray[np.int_]:
    """Bresenham's offsets along one axis: the ideal ones, halves rounded away from the start."""
    longest = len(steps) - 1
    offsets: NDArray[np.int_] = (2 * abs(distance) * steps + longest) // (2 * longest)
    return int(np.sign(distance)) * offsets


def _ends(size: int, index: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(row, column) of both ends, on the border: down the left side, along the bottom, then the upper left side."""
    half, last = size // 2, size - 1
    if index <= half:
        start = (half + index, 0)
    elif index <= last:
        start = (last, index - half)
    elif index <= 3 * half:
        column = index - half
        return (0, last - column), (last, column)  # this quarter runs downwards, which decides how halves are rounded
    else:
        start = (index - 3 * half, 0)
    return start, (last - start[0], last - start[1])


def _even(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    kernel: NDArray[np.float32] = mask.astype(np.float32) / np.float32(np.count_nonzero(mask))
    return kernel
