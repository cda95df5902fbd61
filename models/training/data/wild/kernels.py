"""Smooth blur kernels: Gaussian, generalized Gaussian and plateau, round or stretched, and the published mixture.

With q(x) = x^T S^-1 x over the grid of the kernel (Real-ESRGAN, Wang et al. 2021, arXiv:2107.10833, section 3.1):

    Gaussian exp(-q / 2)      generalized exp(-q^beta / 2)      plateau 1 / (1 + q^beta)

Kernels are (K, K), K odd, and sum to 1.  Sigmas are in pixels.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.training.data.wild.apertures import box_kernel, defocus_kernel, line_kernel, line_size
from models.training.data.wild.random_streams import RandomStreams

Kernel = NDArray[np.floating]
Profile = Literal["gaussian", "generalized", "plateau"]

PUBLISHED: dict[str, float] = {
    "iso": 0.35, "aniso": 0.2, "generalized_iso": 0.1, "generalized_aniso": 0.03, "plateau_iso": 0.1,
    "plateau_aniso": 0.03, "defocus": 0.1, "box": 0.03, "line": 0.03, "psf": 0.03,
}  # fmt: skip
"""Kinds and their odds, in the order of the draw."""

_PROFILES: dict[str, Profile] = {
    "iso": "gaussian", "aniso": "gaussian", "generalized_iso": "generalized", "generalized_aniso": "generalized",
    "plateau_iso": "plateau", "plateau_aniso": "plateau",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """The published ranges.

    Attributes:
        sigma_px: range of the smooth kernels, on both axes.
        generalized_beta, plateau_beta: half of the draws from (low, 1), half from (1, high).
        jitter: each weight of the Gaussian and generalized kernels is multiplied by a random factor from this range.
    """

    odds: Mapping[str, float] = field(default_factory=lambda: dict(PUBLISHED))
    sigma_px: tuple[float, float] = (0.2, 2.2)
    generalized_beta: tuple[float, float] = (0.5, 2.0)
    plateau_beta: tuple[float, float] = (1.0, 1.5)
    jitter: tuple[float, float] | None = (0.9, 1.1)


def smooth_kernel(
    profile: Profile, size: int, sigma_x: float, sigma_y: float, angle: float = 0.0, beta: float = 1.0
) -> NDArray[np.float64]:
    """Returns a kernel of this profile, with its x axis rotated by `angle` radians."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
    axis = np.arange(size) - size // 2
    x, y = np.meshgrid(axis, axis)
    q = inverse[0, 0] * x**2 + (inverse[0, 1] + inverse[1, 0]) * x * y + inverse[1, 1] * y**2
    if profile == "gaussian":
        weights = np.exp(-0.5 * q)
    elif profile == "generalized":
        weights = np.exp(-0.5 * q**beta)
    else:
        weights = 1 / (1 + q**beta)
    return _normed(weights)


def random_smooth_kernel(
    profile: Profile, size: int, draws: RandomStreams, config: KernelConfig, *, stretched: bool
) -> NDArray[np.float64]:
    """Draw sigma (if stretched, also the second sigma and the angle), beta, then the jitter, in this order."""
    sigma_x = sigma_y = draws.uniform(*config.sigma_px)
    angle = 0.0
    if stretched:
        sigma_y = draws.uniform(*config.sigma_px)
        angle = draws.uniform(-math.pi, math.pi)
    beta = 1.0
    if profile != "gaussian":
        low, high = config.generalized_beta if profile == "generalized" else config.plateau_beta
        beta = draws.uniform(low, 1) if draws.numbers.uniform() < 0.5 else draws.uniform(1, high)
    kernel = smooth_kernel(profile, size, sigma_x, sigma_y, angle, beta)
    if profile == "plateau" or config.jitter is None:
        return kernel
    return _normed(kernel * draws.numbers.uniform(*config.jitter, size=kernel.shape))


def _normed(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    normed: NDArray[np.float64] = weights / weights.sum()
    return normed


def random_kernel(
    size: int, draws: RandomStreams, config: KernelConfig, psf: Callable[[RandomStreams], Kernel]
) -> Kernel:
    """Draw a kernel of the mixture, `size` a side; long lines are shorter, and a point spread has its own size."""
    kind = draws.choices.choices(list(config.odds), list(config.odds.values()))[0]
    return kernel_of(kind, size, draws, config, psf)


def kernel_of(
    kind: str, size: int, draws: RandomStreams, config: KernelConfig, psf: Callable[[RandomStreams], Kernel]
) -> Kernel:
    """Draw a kernel of this kind.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind in _PROFILES:
        return random_smooth_kernel(_PROFILES[kind], size, draws, config, stretched=kind.endswith("aniso"))
    if kind == "defocus":
        return defocus_kernel(size)
    if kind == "box":
        return box_kernel(size)
    if kind == "line":
        side = line_size(size)
        return line_kernel(side, int(draws.numbers.randint(0, 2 * side - 2)))
    if kind == "psf":
        return psf(draws)
    raise ValueError(f"got kernel kind {kind!r}, expected one of {', '.join(PUBLISHED)}")
