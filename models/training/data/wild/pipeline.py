"""The three phases, each with damage in random order (Luo et al. 2024, arXiv:2404.09732, and the authors' program).

    phase 1   blur or under-display, resize, noise, JPEG
    phase 2   blur or under-display, noise; half as likely
    phase 3   blur (mostly sinc), resize back to the original size, JPEG

One draw decides whether both resizes happen.  Random draws have the published order, so a published seed gives the
published picture (JPEG encoders and a single-precision FFT differ in the last bit).

Shapes:  H W pixels.  Images are BGR (H, W, 3) float32 in [0, 1]; between the phases they may leave [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.wild.added_noise import random_noise
from models.training.data.wild.kernels import Kernel, KernelConfig, random_kernel
from models.training.data.wild.point_spreads import PointSpreads, own_point_spreads
from models.training.data.wild.random_streams import RandomStreams
from models.training.data.wild.resize_and_jpeg import random_jpeg, random_resize
from models.training.data.wild.ringing import sinc_kernel, wiener
from models.training.data.wild.under_display import random_under_display

Image = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class BlurConfig:
    """The blur of one phase.

    Attributes:
        reach: kernels are 5, 7, ... 2 * reach - 1 px a side.
        sinc: share of ideal low-pass kernels, which cause ringing.
        wiener: probability that a blur of at most 7 px is deconvolved, which causes ringing too.
    """

    sigma_px: tuple[float, float]
    reach: int = 10
    sinc: float = 0.1
    wiener: float = 0.1
    kernels: KernelConfig = field(default_factory=KernelConfig)


@dataclass(frozen=True, kw_only=True)
class WildConfig:
    """Probabilities of each damage, blur settings by phase, and ranges of JPEG quality; published defaults."""

    blur: float = 0.8
    resize: float = 0.8
    noise: float = 0.4
    jpeg: float = 0.4
    under_display: float = 0.2
    blurs: tuple[BlurConfig, BlurConfig, BlurConfig] = (
        BlurConfig(sigma_px=(0.2, 2.2)),
        BlurConfig(sigma_px=(0.2, 1.5), reach=5),
        BlurConfig(sigma_px=(0.2, 1.0), sinc=0.8),
    )
    qualities: tuple[tuple[float, float], tuple[float, float]] = ((60, 95), (80, 100))


@dataclass(frozen=True)
class Degraded:
    """The picture, (H, W, 3) on the 8-bit grid, and the authors' words for each operation, in order, with repeats."""

    image: NDArray[np.float32]
    words: tuple[str, ...]


def degrade(
    image: NDArray[np.float32], seed: int, config: WildConfig | None = None, spreads: PointSpreads | None = None
) -> Degraded:
    """Degrade a BGR picture of at least 16 px a side; the same seed gives the same picture."""
    return _Degrader(config or WildConfig(), spreads or own_point_spreads(), RandomStreams(seed)).degrade(image)


def degrade_rgb(
    image: NDArray[np.float32], seed: int, config: WildConfig | None = None, spreads: PointSpreads | None = None
) -> Degraded:
    """Degrade an RGB picture, as used in the rest of this project."""
    done = degrade(np.ascontiguousarray(image[..., ::-1]), seed, config, spreads)
    return replace(done, image=np.ascontiguousarray(done.image[..., ::-1]))


class _Degrader:
    """Degrades one picture and collects the words."""

    def __init__(self, config: WildConfig, spreads: PointSpreads, draws: RandomStreams) -> None:
        self.config, self.spreads, self.draws = config, spreads, draws
        self.words: list[str] = []

    def degrade(self, image: Image) -> Degraded:
        draws, config, size = self.draws, self.config, (image.shape[0], image.shape[1])
        orders = [
            draws.numbers.permutation(kinds)  # permutes the words, as published; before all other draws
            for kinds in (["blur", "resize", "noise", "jpeg"], ["blur", "noise"], ["blur", "resize", "jpeg"])
        ]
        resizes = draws.happens(config.resize)
        first: dict[str, Callable[[Image], Image]] = {
            "blur": lambda x: self._blur_or_display(x, config.blurs[0], config.blur),
            "resize": lambda x: self._resize(x, None) if resizes else x,
            "noise": lambda x: self._noise(x, config.noise),
            "jpeg": lambda x: self._jpeg(x, config.qualities[0]),
        }
        second: dict[str, Callable[[Image], Image]] = {
            "blur": lambda x: self._blur_or_display(x, config.blurs[1], config.blur * 0.5),
            "noise": lambda x: self._noise(x, config.noise * 0.5),
        }
        third: dict[str, Callable[[Image], Image]] = {
            "blur": lambda x: self._blur(x, config.blurs[2]) if draws.happens(config.blur) else x,
            "resize": lambda x: self._resize(x, size) if resizes else x,
            "jpeg": lambda x: self._jpeg(x, config.qualities[1]),
        }
        for order, phase in zip(orders, (first, second, third), strict=True):
            for kind in order:
                image = phase[str(kind)](image)
        rounded = np.clip((image * 255.0).round(), 0, 255) / 255.0
        return Degraded(rounded.astype(np.float32), tuple(self.words))

    def _blur_or_display(self, image: Image, blur: BlurConfig, probability: float) -> Image:
        if self.draws.happens(probability):
            return self._blur(image, blur)
        if self.draws.happens(self.config.under_display):
            return random_under_display(image, self.spreads.displays, self.draws)
        return image

    def _blur(self, image: Image, blur: BlurConfig) -> Image:
        draws = self.draws
        size = draws.choices.choice([2 * half + 1 for half in range(2, blur.reach)])
        is_sinc = draws.happens(blur.sinc)
        kernel = self._sinc(size) if is_sinc else self._kernel(size, blur)
        blurred: Image = cv2.filter2D(image, -1, kernel)  # correlation, mirrored borders
        self.words += ["blur", "ringing artifact"] if is_sinc else ["blur"]
        if is_sinc or not draws.happens(blur.wiener) or size > 7:
            return blurred
        self.words.append("ringing artifact")
        sharp = wiener(blurred, kernel).astype(blurred.dtype)
        if draws.happens(0.1):
            share = draws.choices.uniform(0.1, 0.5)
            sharp = cv2.addWeighted(blurred, share, sharp, 1 - share, 0)
        return sharp

    def _sinc(self, size: int) -> Kernel:
        low = np.pi / 3 if size < 13 else np.pi / 5
        return sinc_kernel(self.draws.uniform(low, np.pi), size)

    def _kernel(self, size: int, blur: BlurConfig) -> Kernel:
        def camera_shake(draws: RandomStreams) -> Kernel:
            return draws.choices.choice(self.spreads.shakes)

        return random_kernel(size, self.draws, replace(blur.kernels, sigma_px=blur.sigma_px), camera_shake)

    def _resize(self, image: Image, size: tuple[int, int] | None) -> Image:
        self.words.append("blur")
        return random_resize(image, self.draws, size)

    def _noise(self, image: Image, probability: float) -> Image:
        if not self.draws.happens(probability):
            return image
        self.words.append("noise")
        return random_noise(image.astype(np.float32), self.draws)

    def _jpeg(self, image: Image, quality: tuple[float, float]) -> Image:
        if not self.draws.happens(self.config.jpeg):
            return image
        self.words.append("jpeg block")
        return random_jpeg(image, self.draws, quality)
