"""Blur: a shaken camera, a moving camera, a lens out of focus.

Kernels are (K, K) float32, K odd, and sum to 1.  Real motion adds light, not display values, so most draws average in
linear light (the authors of GoPro average sensor frames).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.degradations.image_operations import (
    Image,
    Random,
    clip,
    log_uniform,
    quantize,
    smooth_field,
    to_display,
    to_linear,
)

Kernel = NDArray[np.float32]


def blur(clean: Image, rng: Random) -> Image:
    """Draw one type of blur, in linear light two times in three; uniform blur is rare: it looks like low resolution."""
    linear = rng.random() < 0.65
    light = to_linear(clean) if linear else clean
    kind = rng.random()
    if kind < 0.4:
        blurred = convolve(light, motion_kernel(rng, _length_px(light, rng)))
    elif kind < 0.58:
        blurred = _varying(light, rng)
    elif kind < 0.82:
        blurred = camera_motion(light, rng)
    elif kind < 0.92:
        blurred = convolve(light, disk_kernel(log_uniform(rng, 1.2, 6)))
    else:
        blurred = cv2.GaussianBlur(light, (0, 0), log_uniform(rng, 0.8, 4), borderType=cv2.BORDER_REFLECT_101)
    return quantize(to_display(blurred) if linear else blurred, rng)


def _length_px(image: Image, rng: Random) -> float:
    """Draw a length of up to a quarter of the picture, at most 45: beyond that a crop cannot be restored."""
    return log_uniform(rng, 4, min(45.0, 0.25 * min(image.shape[:2])))


def convolve(image: Image, kernel: Kernel) -> Image:
    """Convolve with mirrored borders; the size stays."""
    convolved: Image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return convolved


def motion_kernel(rng: Random, length_px: float) -> Kernel:
    """Draw the path of a shaking hand: a point with inertia and random pushes, `length_px` long."""
    moves = 48
    shake = rng.uniform(0, 0.35) if rng.random() < 0.6 else 0.0
    turns = np.cumsum(np.cumsum(rng.normal(0, shake, moves)) * 0.25) + rng.uniform(0, 2 * np.pi)
    speeds = np.exp(np.cumsum(rng.normal(0, 0.12, moves)))
    speeds *= length_px / speeds.sum()
    path = np.stack([np.cumsum(speeds * np.cos(turns)), np.cumsum(speeds * np.sin(turns))], axis=1)
    # The points have equal times, not equal distances: slow parts get more light
    return rasterize(path - (path.max(axis=0) + path.min(axis=0)) / 2)


def rasterize(path: NDArray[np.float64]) -> Kernel:
    """Points (N, 2) of x, y around the origin -> a kernel; each point is spread over its four nearest pixels."""
    radius = int(np.ceil(np.abs(path).max())) + 1
    size = 2 * radius + 1
    corner = np.floor(path).astype(int)
    part = path - corner
    kernel = np.zeros((size, size))
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
            np.add.at(kernel, (corner[:, 1] + dy + radius, corner[:, 0] + dx + radius), weight)
    normed: Kernel = (kernel / kernel.sum()).astype(np.float32)
    return normed


def disk_kernel(radius_px: float) -> Kernel:
    """Returns the kernel of a lens out of focus: a uniform disk with an antialiased edge."""
    reach = int(np.ceil(radius_px)) + 1
    axis = np.arange(-reach, reach + 1)
    distance = np.hypot(axis[:, None], axis[None, :])
    disk = np.clip(radius_px + 0.5 - distance, 0, 1)
    normed: Kernel = (disk / disk.sum()).astype(np.float32)
    return normed


def _varying(light: Image, rng: Random) -> Image:
    """Blend two related kernels over the picture: parallax, or a moving object."""
    length = _length_px(light, rng)
    first = motion_kernel(rng, length)
    second = motion_kernel(rng, max(2.0, length * rng.uniform(0.1, 1)))
    share = smooth_field(light.shape[:2], int(rng.integers(1, 4)), rng)
    share = clip((share - 0.5) * np.float32(rng.uniform(1, 8)) + 0.5)[..., None]
    mixed: Image = convolve(light, first) * share + convolve(light, second) * (1 - share)
    return mixed


def camera_motion(light: Image, rng: Random) -> Image:
    """Average 32 instants of a uniform camera motion: shift, roll about a point, and zoom.

    Five warps are enough: the mean of 2n frames is the mean of the n-frame mean and its copy moved by n frames.
    """
    height, width = light.shape[:2]
    length, roll, zoom = _length_px(light, rng), rng.normal(0, 0.03), rng.normal(0, 0.025)
    direction = rng.uniform(0, 2 * np.pi)
    cosine, sine, scale = np.cos(roll / 32), np.sin(roll / 32), 1 + zoom / 32
    linear = scale * np.array([[cosine, -sine], [sine, cosine]])
    center = rng.uniform(0.1, 0.9, 2) * (width, height)
    shift = length / 32 * np.array([np.cos(direction), np.sin(direction)])
    step = np.eye(3)
    step[:2, :2], step[:2, 2] = linear, center - linear @ center + shift
    # Half of the motion is before the instant of the picture, half after: else the target would be displaced
    mean = _warp(light, np.linalg.matrix_power(np.linalg.inv(step), 16))
    for level in range(5):
        mean = cv2.addWeighted(mean, 0.5, _warp(mean, np.linalg.matrix_power(step, 2**level)), 0.5, 0)
    return mean


def _warp(image: Image, matrix: NDArray[np.float64]) -> Image:
    height, width = image.shape[:2]
    warped: Image = cv2.warpAffine(
        image, matrix[:2], (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return warped
