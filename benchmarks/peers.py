"""Denoise a photo with BM3D or OpenCV's non-local means, for `undegrade evaluate --against`.

The strength of the noise is estimated.  The script runs in its own environment without torch:

    pip install bm3d opencv-python-headless
    undegrade evaluate ../shared/eval --tasks denoise --crop 384 \\
        --against 'bm3d=PYTHON benchmarks/peers.py bm3d {input} {output}' \\
        --against 'opencv-nlm=PYTHON benchmarks/peers.py nlm {input} {output}'

The package of BM3D (Dabov et al. 2007) comes from Tampere University and is for non-commercial use.

Example: python benchmarks/peers.py nlm noisy.png denoised.png
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def estimate_sigma(image: Pixels) -> float:
    """Returns the standard deviation of white noise, of 255 (Immerkaer 1996, mean response of a Laplacian mask)."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    mean = np.abs(cv2.filter2D(gray, -1, LAPLACIAN)[1:-1, 1:-1]).mean()
    # The gray weights reduce independent noise by the root of the sum of their squares
    return float(np.sqrt(np.pi / 2) / 6 * mean / np.sqrt(0.299**2 + 0.587**2 + 0.114**2))


def bm3d(image: Pixels) -> Pixels:
    import bm3d as package  # type: ignore[import-not-found]  # not a dependency of undegrade

    restored = package.bm3d_rgb(image[..., ::-1].astype(np.float64) / 255, estimate_sigma(image) / 255)[..., ::-1]
    pixels: Pixels = (np.clip(restored, 0, 1) * 255).round().astype(np.uint8)
    return pixels


def nlm(image: Pixels) -> Pixels:
    strength = 0.5 * estimate_sigma(image)  # the best of 0.5, 0.75, 1 and 1.5 on a photo of CBSD68
    denoised = cv2.fastNlMeansDenoisingColored(image, None, strength, strength, 7, 21)
    return denoised.astype(np.uint8)


TOOLS = {"bm3d": bm3d, "nlm": nlm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=sorted(TOOLS), help="denoiser")
    parser.add_argument("input", type=Path, help="noisy photo")
    parser.add_argument("output", type=Path, help="denoised photo")
    arguments = parser.parse_args()
    image = cv2.imread(str(arguments.input), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"cannot read {arguments.input} as a photo")
    cv2.imwrite(str(arguments.output), TOOLS[arguments.tool](image.astype(np.uint8)))


if __name__ == "__main__":
    main()
