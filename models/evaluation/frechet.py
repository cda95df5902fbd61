"""Fréchet distance between two sets of features (Dowson and Landau 1982; FID: Heusel et al. 2017, eq. 6).

With centered features X (n, D) and Y (m, D), tr((S_x S_y)^(1/2)) is the nuclear norm of X Y^T divided by
sqrt((n - 1)(m - 1)).  This needs no root of a D x D matrix, and it is exact for sets smaller than D, whose covariances
S_x and S_y are singular.  A set larger than D is replaced by the R of its QR decomposition.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]  # (n, D)


def frechet_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Returns |mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), with covariances over n - 1.

    Raises:
        ValueError: a set has fewer than two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"got sets of {len(a)} and {len(b)}, expected at least 2 pictures in each")
    (mean_a, left), (mean_b, right) = _centered(a), _centered(b)
    overlap = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    spread = np.square(left).sum() + np.square(right).sum() - 2 * overlap
    return float(np.square(mean_a - mean_b).sum() + max(spread, 0.0))


def _centered(rows: NDArray[np.float32]) -> tuple[Rows, Rows]:
    """Returns the mean, and R with R^T R = covariance."""
    exact = rows.astype(np.float64)
    mean = exact.mean(axis=0)
    spread = (exact - mean) / np.sqrt(len(rows) - 1)
    return mean, np.asarray(np.linalg.qr(spread, mode="r")) if len(rows) > rows.shape[1] else spread
