"""Denoisers that anyone can install, for `undegrade evaluate --against`; the noise's strength is estimated.

    pip install bm3d opencv-python-headless    # in an environment of its own
    undegrade evaluate ../shared/eval --tasks denoise --crop 384 \\
        --against 'bm3d=PYTHON benchmarks/peers.py bm3d {input} {output}' \\
        --against 'opencv-nlm=PYTHON benchmarks/peers.py nlm {input} {output}'

BM3D (Dabov et al. 2007) is Tampere University's own package, for non-commercial use.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def sigma_of(image: Pixels) -> float:
    """The standard deviation of white noise, of 255 (Immerkaer 1996: the mean response of a Laplacian difference)."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    mean = np.abs(cv2.filter2D(gray, -1, LAPLACIAN)[1:-1, 1:-1]).mean()
    # Of gray, whose weights shrink independent noise by the root of their squares' sum
    return float(np.sqrt(np.pi / 2) / 6 * mean / np.sqrt(0.299**2 + 0.587**2 + 0.114**2))


def bm3d(image: Pixels) -> Pixels:
    import bm3d as package  # type: ignore[import-not-found]  # not ours to depend on

    restored = package.bm3d_rgb(image[..., ::-1].astype(np.float64) / 255, sigma_of(image) / 255)[..., ::-1]
    found: Pixels = (np.clip(restored, 0, 1) * 255).round().astype(np.uint8)
    return found


def nlm(image: Pixels) -> Pixels:
    strength = 0.5 * sigma_of(image)  # of 0.5, 0.75, 1 and 1.5 the best on a picture of CBSD68
    found = cv2.fastNlMeansDenoisingColored(image, None, strength, strength, 7, 21)
    return found.astype(np.uint8)


TOOLS = {"bm3d": bm3d, "nlm": nlm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=sorted(TOOLS))
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    said = parser.parse_args()
    image = cv2.imread(str(said.input), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"{said.input} cannot be read as a picture")
    cv2.imwrite(str(said.output), TOOLS[said.tool](image.astype(np.uint8)))


if __name__ == "__main__":
    main()
