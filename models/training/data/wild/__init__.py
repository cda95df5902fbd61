"""Degradation in the wild: three shuffled phases of blur, resizing, noise and JPEG (Luo et al. 2024, arXiv:2404.09732).

Reading order: random_streams, then kernels and apertures, ringing, point_spreads, under_display, added_noise,
resize_and_jpeg, and pipeline, which composes them.  Images are BGR (H, W, 3) in [0, 1], because published seeds assume
the order of OpenCV.
"""

from models.training.data.wild.pipeline import WildConfig, degrade, degrade_rgb
from models.training.data.wild.point_spreads import PointSpreads, load_point_spreads, own_point_spreads
from models.training.data.wild.random_streams import RandomStreams

__all__ = [
    "PointSpreads",
    "RandomStreams",
    "WildConfig",
    "degrade",
    "degrade_rgb",
    "load_point_spreads",
    "own_point_spreads",
]  # fmt: skip
