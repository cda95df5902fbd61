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
    unbiased = min(1, image.shape[-2] * image.shape[-1] - 1)  # a single pixel has no unbiased variance: 0 / 0
    variance = image.var((-2, -1), keepdim=True, correction=unbiased)
    return image.mean((-2, -1), keepdim=True), (variance + 1e-5).sqrt()
