"""What happens to a picture as a file: resized, saved as JPEG, sharpened.

Shapes:  H W pixels.  Images are BGR (H, W, 3) in [0, 1].
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.wild.draws import Draws

Image = NDArray[np.floating]
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LINEAR)


def random_resize(image: Image, draws: Draws, size: tuple[int, int] | None = None) -> Image:
    """To `size` (H, W), or to 1/1.4 .. 2 times its own; not clipped, so cubic overshoot stays."""
    if size is None:
        shrink = draws.choices.uniform(0.5, 1.4)
        size = int(image.shape[0] / shrink), int(image.shape[1] / shrink)
    method = draws.choices.choice(INTERPOLATIONS)
    resized: Image = cv2.resize(image, size[::-1], interpolation=method)
    return resized


def jpeg(image: Image, quality: int) -> NDArray[np.float32]:
    """Saved and read again by libjpeg, 4:2:0; `quality` 0 to 100."""
    pixels = np.rint(np.clip(image, 0, 1) * 255.0).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None  # these bytes were encoded two lines above
    read: NDArray[np.float32] = decoded.astype(np.float32) / np.float32(255)
    return read


def random_jpeg(image: Image, draws: Draws, quality: tuple[float, float]) -> NDArray[np.float32]:
    return jpeg(image, int(draws.uniform(*quality)))


def sharpen(image: Image, weight: float = 0.5, radius_px: int = 50, threshold_255: float = 10) -> Image:
    """Unsharp masking of what stands out by more than the threshold: how the targets may have been prepared.

    Pictures lower than 500 px use a tenth of their height as the radius.
    """
    size = image.shape[0] // 10 if image.shape[0] < 500 else radius_px
    size += 1 - size % 2
    detail = image - cv2.GaussianBlur(image, (size, size), 0)
    stands_out = (np.abs(detail) * 255 > threshold_255).astype(np.float32)
    mask = cv2.GaussianBlur(stands_out, (size, size), 0)
    sharp = np.clip(image + weight * detail, 0, 1)
    mixed: Image = mask * sharp + (1 - mask) * image
    return mixed
