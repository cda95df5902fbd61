"""Point spreads of a shaken camera and of a display in front of the lens.

The published pipeline reads two pickles that we may not ship.  `own_point_spreads` computes both sets: camera shake as
a point with inertia, and the diffraction of the pixel grid of a display (Zhou et al. 2021, arXiv:2003.04857: the spread
is |FFT(aperture)|^2, wider for longer wavelengths).  `load_point_spreads` reads other sets.

Shapes:  shake kernels (K, K), K odd from 5 to 29; display spreads (S, S, 3) in BGR.  Each sums to 1 (per channel).
"""

import functools
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from models.errors import TrainingError
from models.training.data.degradations.blur import motion_kernel

Spread = NDArray[np.floating]
SHAKES, DISPLAYS, DISPLAY_PX = 100, 12, 65
WAVELENGTHS_NM = ((440, 460, 480), (520, 540, 560), (590, 615, 640))
"""Of the blue, green and red channel."""


@dataclass(frozen=True)
class PointSpreads:
    """Both sets; a draw chooses one element with equal probability."""

    shakes: tuple[Spread, ...]
    displays: tuple[Spread, ...]


@functools.cache
def own_point_spreads() -> PointSpreads:
    """Returns the sets of this project; they are the same in every process."""
    rng = np.random.default_rng(20240415)
    shakes = tuple(_shake(rng) for _ in range(SHAKES))
    return PointSpreads(shakes=shakes, displays=tuple(_display(rng) for _ in range(DISPLAYS)))


def _shake(rng: np.random.Generator) -> Spread:
    """Draw a path with a thickness, because a lens blurs every point; paths longer than 29 px are drawn again."""
    while True:
        path = motion_kernel(rng, rng.uniform(2, 24))
        wide = cv2.GaussianBlur(np.pad(path, 3), (0, 0), rng.uniform(0.4, 1.0))
        wide[wide < 0.005 * wide.max()] = 0
        kernel = _trimmed(wide)
        if 5 <= len(kernel) <= 29:
            normed: Spread = kernel / kernel.sum(dtype=np.float32)
            return normed


def _trimmed(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the empty border; the center stays."""
    center = len(kernel) // 2
    rows, columns = np.nonzero(kernel)
    reach = max(2, int(np.abs(np.stack([rows, columns]) - center).max()))
    return np.ascontiguousarray(kernel[center - reach : center + reach + 1, center - reach : center + reach + 1])


def _display(rng: np.random.Generator) -> Spread:
    """Draw the far field of a round lens behind a grid of opaque lines and dots, cut to DISPLAY_PX, with sum 1."""
    aperture = _grid(rng)
    field = np.abs(np.fft.fftshift(np.fft.fft2(aperture))) ** 2
    scale = rng.uniform(0.5, 0.9)
    return np.stack([_band(field, band, scale) for band in WAVELENGTHS_NM], axis=-1)


def _grid(rng: np.random.Generator, side: int = 512) -> NDArray[np.float64]:
    """Draw (side, side) of 0 and 1: display lines along both axes and an opaque dot, repeated over the lens."""
    axis = np.arange(side)
    period = int(rng.integers(18, 34))
    across, down, dot = (int(period * rng.uniform(low, high)) for low, high in ((0.1, 0.35), (0.1, 0.35), (0.1, 0.3)))
    rows, columns = axis % period, axis % period
    clear = (rows >= down)[:, None] & (columns >= across)[None, :]
    middle = (period - dot) // 2
    opaque = ((rows >= middle) & (rows < middle + dot))[:, None] & ((columns >= middle) & (columns < middle + dot))
    lens = np.hypot(axis[:, None] - side / 2, axis[None, :] - side / 2) < side * rng.uniform(0.2, 0.32)
    aperture: NDArray[np.float64] = (clear & ~opaque & lens).astype(np.float64)
    return aperture


def _band(field: NDArray[np.float64], band: Sequence[int], scale: float) -> NDArray[np.float32]:
    """Returns the mean over the wavelengths of a channel; the pattern grows with the wavelength."""
    side, half = len(field), DISPLAY_PX // 2
    total = np.zeros((DISPLAY_PX, DISPLAY_PX))
    for wavelength in band:
        grow = scale * wavelength / 540
        # The new pixels are coarser than the far field: blur first, so that light is summed and not subsampled
        soft = cv2.GaussianBlur(field, (0, 0), 0.5 / grow)
        source = (np.arange(-half, half + 1) / grow + side // 2).astype(np.float32)
        columns, rows = np.meshgrid(source, source)
        total += cv2.remap(soft, columns, rows, cv2.INTER_LINEAR)
    normed: NDArray[np.float32] = (total / total.sum()).astype(np.float32)
    return normed


def load_point_spreads(shakes: Path | None = None, displays: Path | None = None) -> PointSpreads:
    """Load sets from .npz, .safetensors, or a .pkl of numpy arrays like the published ones; None means our own set.

    Kernels keep the order of the file; those of a mapping are sorted by key, "psf2" before "psf10".

    Raises:
        TrainingError: a file cannot be read, would run code, or holds arrays of other shapes.
    """
    own = own_point_spreads()
    return PointSpreads(
        shakes=own.shakes if shakes is None else _read(shakes, dimensions=2),
        displays=own.displays if displays is None else _read(displays, dimensions=3),
    )


def _read(path: Path, dimensions: int) -> tuple[Spread, ...]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                loaded: object = dict(archive)
        elif path.suffix == ".safetensors":
            loaded = load_file(path)
        else:
            with path.open("rb") as file:
                loaded = _ArraysOnly(file, encoding="latin1").load()
    except (OSError, ValueError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise TrainingError(f"cannot read point spreads from {path}: {error}. Give a .npz file of kernels.") from error
    found = tuple(value for value in _in_order(loaded) if isinstance(value, np.ndarray) and value.ndim == dimensions)
    shape = "K x K" if dimensions == 2 else "S x S x 3"
    square = all(value.shape[0] == value.shape[1] and value.shape[2:] in ((), (3,)) for value in found)
    if not found or not square:
        raise TrainingError(
            f"{path} holds no kernels of {shape}. Give a .npz, .safetensors or .pkl file of such arrays."
        )
    return found


def _in_order(loaded: object) -> list[object]:
    if not isinstance(loaded, Mapping):
        return list(loaded) if isinstance(loaded, list | tuple | np.ndarray) else []
    return [loaded[key] for key in sorted(loaded, key=_natural)]


def _natural(key: object) -> tuple[str, int]:
    text = str(key)
    digits = text[len(text.rstrip("0123456789")) :]
    return text.removesuffix(digits), int(digits or 0)


class _ArraysOnly(pickle.Unpickler):
    """Loads numpy arrays only, because other pickles can run any code."""

    ALLOWED = frozenset(
        {
            (f"numpy.{core}.{module}", name)
            for core in ("core", "_core")
            for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
        }
        | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    )

    def __init__(self, file: BinaryIO, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}, which may run code")
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)
