"""Blur: a shaken camera, a moving camera, a lens out of focus.

Kernels are (K, K) float32, K odd, and sum to 1.  Real motion adds up light, not display values, so most draws
average in linear light (GoPro's authors average sensor frames).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.degradations.image import (
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
    """One sort of blur, in linear light two times in three; even blur is rare, as low resolution looks much like it."""
    linear = rng.random() < 0.65
    light = to_linear(clean) if linear else clean
    sort = rng.random()
    if sort < 0.4:
        blurred = convolve(light, motion_kernel(rng, _length_px(light, rng)))
    elif sort < 0.58:
        blurred = _varying(light, rng)
    elif sort < 0.82:
        blurred = camera_motion(light, rng)
    elif sort < 0.92:
        blurred = convolve(light, disk_kernel(log_uniform(rng, 1.2, 6)))
    else:
        blurred = cv2.GaussianBlur(light, (0, 0), log_uniform(rng, 0.8, 4), borderType=cv2.BORDER_REFLECT_101)
    return quantize(to_display(blurred) if linear else blurred, rng)


def _length_px(image: Image, rng: Random) -> float:
    """Up to a quarter of the picture, 45 at most: beyond that a crop holds nothing to restore from."""
    return log_uniform(rng, 4, min(45.0, 0.25 * min(image.shape[:2])))


def convolve(image: Image, kernel: Kernel) -> Image:
    """Mirror borders, same size."""
    convolved: Image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return convolved


def motion_kernel(rng: Random, length_px: float) -> Kernel:
    """The path of a shaking hand: a point with inertia, pushed at random, `length_px` long."""
    moves = 48
    shake = rng.uniform(0, 0.35) if rng.random() < 0.6 else 0.0
    turns = np.cumsum(np.cumsum(rng.normal(0, shake, moves)) * 0.25) + rng.uniform(0, 2 * np.pi)
    speeds = np.exp(np.cumsum(rng.normal(0, 0.12, moves)))
    speeds *= length_px / speeds.sum()
    path = np.stack([np.cumsum(speeds * np.cos(turns)), np.cumsum(speeds * np.sin(turns))], axis=1)
    # Equal times, not equal distances: where the hand lingers, more light falls.
    return rasterise(path - (path.max(axis=0) + path.min(axis=0)) / 2)


def rasterise(path: NDArray[np.float64]) -> Kernel:
    """Points (N, 2) of x, y around the origin -> a kernel, each point shared among its four nearest pixels."""
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
    """A lens out of focus: an even disk with an antialiased edge."""
    reach = int(np.ceil(radius_px)) + 1
    axis = np.arange(-reach, reach + 1)
    distance = np.hypot(axis[:, None], axis[None, :])
    disk = np.clip(radius_px + 0.5 - distance, 0, 1)
    normed: Kernel = (disk / disk.sum()).astype(np.float32)
    return normed


def _varying(light: Image, rng: Random) -> Image:
    """Two related kernels, blended over the picture: parallax, or an object that moves by itself."""
    length = _length_px(light, rng)
    first = motion_kernel(rng, length)
    second = motion_kernel(rng, max(2.0, length * rng.uniform(0.1, 1)))
    share = smooth_field(light.shape[:2], int(rng.integers(1, 4)), rng)
    share = clip((share - 0.5) * np.float32(rng.uniform(1, 8)) + 0.5)[..., None]
    mixed: Image = convolve(light, first) * share + convolve(light, second) * (1 - share)
    return mixed


def camera_motion(light: Image, rng: Random) -> Image:
    """The mean over 32 instants of an even camera motion: shift, roll about some point, and zoom.

    Five warps suffice: the mean of 2n frames is the mean of the n-frame mean and its copy moved by n frames.
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
    # Half the motion before the picture's own instant, half after, so that the target is not displaced.
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
