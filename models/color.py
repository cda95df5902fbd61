"""Color matching: give a restored picture the color statistics of its input.

Shapes:  H W pixels.  Images are RGB (3, H, W) float32 in [-1, 1].
"""

from torch import Tensor


def match_colors(picture: Tensor, like: Tensor) -> Tensor:
    """Each channel with the mean and the deviation of `like`'s (AdaIN, unbiased variance + 1e-5): 2 x (3, H, W)."""
    (mean, deviation), (wanted_mean, wanted_deviation) = _moments(picture), _moments(like)
    return (picture - mean) / deviation * wanted_deviation + wanted_mean


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    return image.mean((-2, -1), keepdim=True), (image.var((-2, -1), keepdim=True) + 1e-5).sqrt()
