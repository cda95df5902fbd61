"""Degradation in the wild: three shuffled phases of blur, resizing, noise and JPEG (Luo et al. 2024, arXiv:2404.09732).

Reading order: draws, then kernels and apertures, ringing, psf, under_display, noise, picture, and pipeline, which
composes them.  Images here are BGR (H, W, 3) in [0, 1], OpenCV's order, since published seeds assume it.
"""

from models.training.data.wild.draws import Draws
from models.training.data.wild.pipeline import WildConfig, degrade, degrade_rgb
from models.training.data.wild.psf import PointSpreads, load_point_spreads, own_point_spreads

__all__ = [
    "Draws", "PointSpreads", "WildConfig", "degrade", "degrade_rgb", "load_point_spreads", "own_point_spreads",
]  # fmt: skip
