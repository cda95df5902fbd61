"""Color matching: give a restored image the color statistics of its input.

Shapes:  H W pixels.  Images are RGB (3, H, W) float32 in [-1, 1].
"""

from torch import Tensor


def match_colors(image: Tensor, reference: Tensor) -> Tensor:
    """Give each channel of `image` the mean and deviation of `reference` (AdaIN, unbiased variance + 1e-5)."""
    (mean, deviation), (reference_mean, reference_deviation) = (
        _mean_and_deviation(image),
        _mean_and_deviation(reference),
    )
    return (image - mean) / deviation * reference_deviation + reference_mean


def _mean_and_deviation(image: Tensor) -> tuple[Tensor, Tensor]:
    return image.mean((-2, -1), keepdim=True), (image.var((-2, -1), keepdim=True) + 1e-5).sqrt()
