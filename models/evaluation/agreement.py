"""Decides whether measured PSNRs agree with the mean that a paper states for a whole benchmark.

The images are a sample of the benchmark.  A 95 % confidence interval of its mean follows from Student's t, with the
correction for a finite population: whoever has measured all images knows the mean, and only a tolerance is left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Literal

TOLERANCE_DB = 0.1
"""For float16 weights, padding, tiles and rounding to 8 bits; the published tables have two decimals."""
WIDEST_DB = 1.0
"""A wider interval agrees with too many checkpoints: neighbors in the papers' tables are 0.3 to 1 dB apart."""
FEWEST = 3
CONFIDENCE = 0.95

Verdict = Literal["agrees", "differs", "too few images to tell"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Mean and confidence interval of the benchmark's PSNR, in dB, by this sample."""

    verdict: Verdict
    images: int
    mean_db: float
    low_db: float
    high_db: float


def compare(psnrs_db: Sequence[float], published_db: float, benchmark_images: int = 0) -> Agreement:
    """Compare a sample with a published mean.

    Args:
        psnrs_db: one PSNR per image, at least one.
        benchmark_images: number of images of the whole benchmark; 0 if unknown.
    """
    count, mean = len(psnrs_db), fmean(psnrs_db)
    half = _half_width(psnrs_db, benchmark_images)
    low, high = mean - half, mean + half
    inside = low - TOLERANCE_DB <= published_db <= high + TOLERANCE_DB
    verdict: Verdict = "agrees" if inside else "differs"
    if (count < FEWEST and half > 0) or (inside and half > WIDEST_DB):
        verdict = "too few images to tell"
    return Agreement(verdict=verdict, images=count, mean_db=mean, low_db=low, high_db=high)


def _half_width(psnrs_db: Sequence[float], population: int) -> float:
    count = len(psnrs_db)
    if population and count >= population:
        return 0.0
    if count < 2:
        return math.inf
    finite = math.sqrt((population - count) / (population - 1)) if population else 1.0
    return student_t(count - 1) * stdev(psnrs_db) / math.sqrt(count) * finite


def student_t(freedom: int) -> float:
    """Returns the two-sided 95 % quantile of Student's t (Abramowitz and Stegun 26.7.5; exact for 1 and 2)."""
    probability = (1 + CONFIDENCE) / 2
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))
    z, v = NormalDist().inv_cdf(probability), freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )
