"""Kernels with hard edges: a lens out of focus, a box, a straight motion.

Kernels are (K, K) float32, K odd, uniform where they are not zero, and sum to 1.
"""

import numpy as np
from numpy.typing import NDArray

MAX_LINE_PX = 15
"""Lines for a larger kernel are 10 px shorter than the kernel."""


def defocus_kernel(size: int) -> NDArray[np.float32]:
    """Returns a disk of radius size // 2 + 1 about the center pixel; at sizes 3 and 5 without the corners."""
    axis = np.arange(size) - size // 2
    disk = axis[:, None] ** 2 + axis[None, :] ** 2 < (size // 2 + 1) ** 2
    if size <= 5:
        disk[[0, 0, -1, -1], [0, -1, 0, -1]] = False
    return _uniform(disk)


def box_kernel(size: int) -> NDArray[np.float32]:
    return _uniform(np.ones((size, size), dtype=bool))


def line_size(size: int) -> int:
    """Returns the side of the kernel of a line of this nominal size."""
    return size - 10 if size > MAX_LINE_PX else size


def line_kernel(size: int, index: int) -> NDArray[np.float32]:
    """Returns one of the 2 * size - 2 distinct lines through the center, counterclockwise from horizontal."""
    (row, column), (last_row, last_column) = _ends(size, index)
    down, right = last_row - row, last_column - column
    steps = np.arange(max(abs(down), abs(right)) + 1)
    mask = np.zeros((size, size), dtype=bool)
    mask[row + _walk(down, steps), column + _walk(right, steps)] = True
    return _uniform(mask)


def _walk(distance: int, steps: NDArray[np.int_]) -> NDArray[np.int_]:
    """Returns Bresenham's offsets along one axis; halves are rounded away from the start."""
    longest = len(steps) - 1
    offsets: NDArray[np.int_] = (2 * abs(distance) * steps + longest) // (2 * longest)
    return int(np.sign(distance)) * offsets


def _ends(size: int, index: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns (row, column) of both ends on the border: down the left side, along the bottom, the upper left side."""
    half, last = size // 2, size - 1
    if index <= half:
        start = (half + index, 0)
    elif index <= last:
        start = (last, index - half)
    elif index <= 3 * half:
        column = index - half
        return (0, last - column), (last, column)  # this quarter runs downward, which decides how halves are rounded
    else:
        start = (index - 3 * half, 0)
    return start, (last - start[0], last - start[1])


def _uniform(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    kernel: NDArray[np.float32] = mask.astype(np.float32) / np.float32(np.count_nonzero(mask))
    return kernel
