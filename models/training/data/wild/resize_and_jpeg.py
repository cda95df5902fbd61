"""Resizing and JPEG compression of the published pipeline.

Shapes:  H W pixels.  Images are BGR (H, W, 3) in [0, 1].
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.wild.random_streams import RandomStreams

Image = NDArray[np.floating]
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LINEAR)


def random_resize(image: Image, draws: RandomStreams, size: tuple[int, int] | None = None) -> Image:
    """Resize to `size` (H, W), or by a random factor of 1/1.4 .. 2; the result is not clipped, so overshoot stays."""
    if size is None:
        shrink = draws.choices.uniform(0.5, 1.4)
        size = int(image.shape[0] / shrink), int(image.shape[1] / shrink)
    method = draws.choices.choice(INTERPOLATIONS)
    resized: Image = cv2.resize(image, size[::-1], interpolation=method)
    return resized


def jpeg(image: Image, quality: int) -> NDArray[np.float32]:
    """Encode and decode with libjpeg, 4:2:0; `quality` is 0 to 100."""
    pixels = np.rint(np.clip(image, 0, 1) * 255.0).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None  # these bytes were encoded two lines above
    read: NDArray[np.float32] = decoded.astype(np.float32) / np.float32(255)
    return read


def random_jpeg(image: Image, draws: RandomStreams, quality: tuple[float, float]) -> NDArray[np.float32]:
    return jpeg(image, int(draws.uniform(*quality)))
