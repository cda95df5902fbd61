"""Cuts a part out of a photo, and enlarges photos before their restoration.  Torch-free.

The enlargement is bicubic on the encoded values, as in the training of the repair of low resolution: in linear light
its overshoots would draw dark rims.  Colors are weighted by alpha, so that hidden colors do not bleed into edges.

Shapes:  H W pixels.  Pixels are RGB (H, W, 3), uint8 or uint16; alpha is (H, W).
"""

from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.controls import Crop
from models.errors import UnfitControls
from models.photo.read import Limits, Photo, Samples
from models.photo.transparency import filled, hidden_mask

Floats = NDArray[np.float32]


def check_part(width_px: int, height_px: int, crop: Crop | None) -> tuple[int, int]:
    """Returns the width and height of a part of an upright image; all of it without a crop.

    Raises:
        UnfitControls: the part is not within the image.
    """
    if crop is None:
        return width_px, height_px
    x, y, width, height = crop
    if x + width > width_px or y + height > height_px:
        raise UnfitControls(
            f"got crop {x},{y},{width},{height}, which reaches to {x + width},{y + height}, expected a part of the "
            f"upright image, which has {width_px} x {height_px} px"
        )
    return width, height


def check_enlarged(width_px: int, height_px: int, scale: int, limits: Limits) -> None:
    """Check the size of a result before anything is computed.

    Raises:
        UnfitControls: it is over the limits.
    """
    width, height = width_px * scale, height_px * scale
    if width * height > limits.pixels or max(width, height) > limits.side_px:
        raise UnfitControls(
            f"the result is too large: {width_px} x {height_px} px enlarged by {scale} are {width} x {height} = "
            f"{width * height / 1e6:.1f} megapixels, the limit is {limits.pixels / 1e6:g} (and {limits.side_px} px a "
            "side). Ask for a smaller scale, or for a crop."
        )


def prepared(photo: Photo, crop: Crop | None, scale: int, limits: Limits) -> Photo:
    """Returns the photo to restore: the part of a crop, enlarged.

    Of a crop, `whole` holds the pixels that it was cut from, and of an enlarged photo `small`; but no transparent one.
    Pixels that alpha hides are filled from visible ones, and kept in `hidden`.

    Raises:
        UnfitControls: the part is not within the photo, or the result would be over the limits.
    """
    height, width = photo.pixels.shape[:2]
    size = check_part(width, height, crop)
    if scale != 1:
        check_enlarged(*size, scale, limits)
    whole_alpha = photo.alpha
    if crop is not None and size != (width, height):
        photo = _cut(photo, crop)
    return _without_hidden(photo if scale == 1 else _enlarged(photo, scale), whole_alpha)


def _without_hidden(photo: Photo, whole_alpha: Samples | None) -> Photo:
    """Returns the photo without pixels that cannot be seen, and its whole likewise; what they were is in `hidden`."""
    mask, whole_mask = hidden_mask(photo.alpha), hidden_mask(whole_alpha)
    if photo.whole is not None and whole_mask is not None:
        photo = replace(photo, whole=filled(photo.whole, whole_mask))
    if mask is None:
        return photo
    return replace(photo, pixels=filled(photo.pixels, mask), hidden=photo.pixels[mask])


def _cut(photo: Photo, crop: Crop) -> Photo:
    x, y, width, height = crop
    rows, columns = slice(y, y + height), slice(x, x + width)
    alpha = None if photo.alpha is None else photo.alpha[rows, columns].copy()
    return replace(photo, pixels=photo.pixels[rows, columns].copy(), alpha=alpha, whole=photo.pixels)


def _enlarged(photo: Photo, scale: int) -> Photo:
    alpha = None if photo.alpha is None else _resized(photo.alpha, scale)
    pixels = _pixels_enlarged(photo.pixels, photo.alpha, scale)
    # Networks that enlarge know no alpha: hidden colors would bleed into edges
    small = photo.pixels if photo.alpha is None or _opaque(photo.alpha) else None
    dpi = photo.metadata.dpi  # the print keeps its size
    metadata = photo.metadata if dpi is None else replace(photo.metadata, dpi=(dpi[0] * scale, dpi[1] * scale))
    return replace(photo, pixels=pixels, alpha=alpha, metadata=metadata, small=small)


def _pixels_enlarged(pixels: Samples, alpha: Samples | None, scale: int) -> Samples:
    if alpha is None or _opaque(alpha):
        return _stacked([_resized(pixels[..., channel], scale) for channel in range(3)])
    weight: Floats = (alpha / np.iinfo(alpha.dtype).max).astype(np.float32)
    total = _bicubic(weight, scale)
    seen = total > 1 / 64  # elsewhere the weights are too small to divide by
    channels = []
    for channel in range(3):
        plain: Floats = pixels[..., channel].astype(np.float32)
        product: Floats = plain * weight
        weighted = _bicubic(product, scale) / np.where(seen, total, 1)
        channels.append(_rounded(np.where(seen, weighted, _bicubic(plain, scale)), pixels.dtype))
    return _stacked(channels)


def _opaque(alpha: Samples) -> bool:
    return int(alpha.min()) == np.iinfo(alpha.dtype).max


def _stacked(channels: list[Samples]) -> Samples:
    return cast(Samples, np.stack(channels, axis=2))


def _resized(samples: Samples, scale: int) -> Samples:
    return _rounded(_bicubic(samples.astype(np.float32), scale), samples.dtype)


def _bicubic(samples: Floats, scale: int) -> Floats:
    # In floats: with 8 bits, Pillow would clip what lies between its two passes
    height, width = samples.shape
    image = Image.fromarray(samples).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _rounded(values: Floats, dtype: "np.dtype[np.uint8] | np.dtype[np.uint16]") -> Samples:
    return cast(Samples, np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype))
