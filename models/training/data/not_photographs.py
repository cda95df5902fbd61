"""Draws pictures that are no photographs: frames, graphics, pages and starry skies, and stores them as users do.

They are the positive examples of models/safety/photographs.py.  Every picture is a pure function of its generator.

Shapes:  H W pixels.  Pictures are RGB (H, W, 3) uint8.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Floats | Picture]
"""Draws (H, W, 3) in levels from 0 to 255."""
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
WORDS = ("the", "quick", "total", "invoice", "of", "2024", "page", "damaged", "Menu", "chapter", "lamp", "12.50 EUR")


def _flat(rng: np.random.Generator, height: int, width: int) -> Floats:
    level = rng.choice([0.0, 255.0, float(rng.uniform(0, 40)), float(rng.uniform(60, 250))])
    color = np.clip(level + rng.uniform(-20, 20, 3) * (20 < level < 235), 0, 255)
    return np.broadcast_to(color, (height, width, 3)).copy()


def _color(rng: np.random.Generator) -> tuple[float, float, float]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return float(red), float(green), float(blue)


def _pixel_art(rng: np.random.Generator, height: int, width: int) -> Floats:
    module, colors = int(rng.integers(3, 17)), int(rng.integers(2, 9))
    palette = np.array([_color(rng) for _ in range(colors)])
    rows, columns = -(-height // module), -(-width // module)
    if rng.random() < 0.5:  # a figure: smooth shapes in few colors
        field = cv2.GaussianBlur(rng.normal(size=(rows, columns)), (0, 0), 1.5)
        ranks = np.searchsorted(np.quantile(field, np.linspace(0, 1, colors + 1)[1:-1]), field)
    else:
        ranks = rng.integers(0, colors, (rows, columns))
    art: Floats = palette[ranks].repeat(module, 0).repeat(module, 1)
    return art[:height, :width].copy()


def _code(rng: np.random.Generator, height: int, width: int) -> Floats:
    """A code of black and white squares in a white margin, or a bar code."""
    module, page = int(rng.integers(3, 13)), np.full((height, width, 3), 255.0)
    side = min(height, width) * 4 // 5 // module * module
    cells = rng.integers(0, 2, (1 if rng.random() < 0.3 else side // module, side // module)) * 255.0
    code = cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST)
    top, left = (height - side) // 2, (width - side) // 2
    page[top : top + side, left : left + side] = code[..., None]
    return page


def _logo(rng: np.random.Generator, height: int, width: int) -> Picture:
    page = np.full((height, width, 3), _color(rng) if rng.random() < 0.5 else 255.0).astype(np.uint8)
    for _ in range(int(rng.integers(2, 7))):
        center = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(rng.integers(width // 12, width // 3)), int(rng.integers(height // 12, height // 3)))
        if rng.random() < 0.5:
            cv2.ellipse(page, center, axes, float(rng.uniform(0, 180)), 0, 360, _color(rng), -1, cv2.LINE_AA)
        else:
            corners = np.array([center]) + rng.integers(-axes[0], axes[0], (int(rng.integers(3, 6)), 2))
            cv2.fillPoly(page, [corners.astype(np.int32)], _color(rng), cv2.LINE_AA)
    size = float(rng.uniform(1, 3)) * width / 320
    cv2.putText(page, "LOGO", (width // 8, height // 2), int(rng.choice(FONTS)), size, _color(rng), 3, cv2.LINE_AA)
    return page


def _chart(rng: np.random.Generator, height: int, width: int) -> Picture:
    page = np.full((height, width, 3), 255, dtype=np.uint8)
    for at in np.linspace(height * 0.1, height * 0.9, 6).astype(int):
        cv2.line(page, (width // 10, int(at)), (width - 8, int(at)), (225, 225, 225), 1)
        cv2.putText(page, str(at), (2, int(at)), FONTS[0], 0.35, (60, 60, 60), 1, cv2.LINE_AA)
    count = int(rng.integers(4, 12))
    lefts = np.linspace(width * 0.12, width * 0.95, count + 1).astype(int)
    heights = rng.uniform(0.1, 0.8, count + 1) * height
    if rng.random() < 0.5:
        for left, right, high in zip(lefts, lefts[1:], heights, strict=False):
            corner = (int(right) - 3, int(height * 0.9 - high))
            cv2.rectangle(page, (int(left), int(height * 0.9)), corner, _color(rng), -1)
    else:
        for _ in range(3):
            line = np.stack([lefts, height * 0.9 - rng.uniform(0.1, 0.8, count + 1) * height], 1).astype(np.int32)
            cv2.polylines(page, [line], False, _color(rng), 2, cv2.LINE_AA)
    return page


def _lines(rng: np.random.Generator, page: Picture, box: tuple[int, int, int, int], ink: float) -> None:
    """Write lines of words into a box of left, top, right, bottom."""
    left, top, right, bottom = box
    size, font = float(rng.uniform(0.35, 0.7)), int(rng.choice(FONTS))
    step = int(26 * size) + int(rng.integers(3, 10))
    for baseline in range(top + step, bottom, step):
        text = " ".join(rng.choice(WORDS, 40).tolist())
        room = max(1, int((right - left) / (19 * size)))
        cv2.putText(page, text[:room], (left, baseline), font, size, (ink,) * 3, 1, cv2.LINE_AA)


def _screenshot(rng: np.random.Generator, height: int, width: int) -> Picture:
    dark = rng.random() < 0.4
    page = np.full((height, width, 3), 32 if dark else 248, dtype=np.uint8)
    page[: height // 12] = _color(rng)
    page[:, : width // 5] = 50.0 if dark else 228.0
    _lines(rng, page, (width // 5 + 8, height // 10, width - 8, height - 8), 215 if dark else 30)
    for _ in range(int(rng.integers(1, 4))):
        left, top = int(rng.integers(0, width * 3 // 4)), int(rng.integers(0, height * 3 // 4))
        cv2.rectangle(page, (left, top), (left + width // 6, top + height // 12), _color(rng), -1)
    return page


def _page(rng: np.random.Generator, height: int, width: int) -> Floats | Picture:
    """A page of text, plain or photographed: with shading, tint, and a slight turn."""
    paper, ink = float(rng.uniform(225, 255)), float(rng.uniform(0, 70))
    page = np.full((height, width, 3), paper).astype(np.uint8)
    _lines(rng, page, (width // 12, height // 14, width - width // 14, height - height // 14), ink)
    if rng.random() < 0.5:
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-4, 4)), 1.0)
        page = cv2.warpAffine(page, turn, (width, height), borderValue=(paper,) * 3)
        rows, columns = np.mgrid[:height, :width]
        slope = rng.uniform(-0.25, 0.25, 2)
        shade = 0.85 + slope[0] * (rows / height - 0.5) + slope[1] * (columns / width - 0.5)
        shaded: Floats = page * np.clip(shade, 0.5, 1)[..., None] * rng.uniform(0.92, 1, 3)
        return shaded
    return page


def _stars(rng: np.random.Generator, height: int, width: int) -> Floats:
    rows = np.linspace(0, 1, height)[:, None]
    glow = float(rng.uniform(2, 30)) + float(rng.uniform(-12, 25)) * rows * rng.random()
    sky = np.clip(glow, 0, 60)[..., None] * rng.uniform(0.8, 1.2, 3) * np.ones((height, width, 1))
    light = np.zeros((height, width, 1))
    for _ in range(int(height * width * rng.uniform(4e-4, 4e-3))):
        y, x = rng.uniform(3, height - 4), rng.uniform(3, width - 4)
        bright, spread = min(230.0, 25 + float(rng.pareto(1.3)) * 25), float(rng.uniform(0.4, 1.1))
        top, left = int(y) - 3, int(x) - 3
        near = np.exp(-((np.arange(7)[:, None] + top - y) ** 2 + (np.arange(7) + left - x) ** 2) / (2 * spread**2))
        light[top : top + 7, left : left + 7, 0] += bright * near
    return np.clip(sky + light * rng.uniform(0.85, 1, 3), 0, 255)


KINDS: dict[str, tuple[Draw, ...]] = {
    "blank": (_flat,), "graphic": (_pixel_art, _code, _logo, _chart, _screenshot), "page": (_page,),
    "stars": (_stars,),
}  # fmt: skip


def draw(kind: str, rng: np.random.Generator, height: int = 320, width: int = 400) -> Picture:
    """Returns a picture of a kind as a file shows it: drawn larger and shrunk, with light noise, saved as JPEG, or not.

    Sensor noise has a standard deviation of at most 1.5 levels.
    """
    choices = KINDS[kind]
    scale = float(rng.choice([1.0, 1.0, 1.5, 2.2])) if kind != "stars" else 1.0
    drawn = choices[int(rng.integers(len(choices)))](rng, round(height * scale), round(width * scale))
    if scale > 1:
        filter_ = int(rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
        drawn = cv2.resize(np.asarray(drawn, dtype=np.float64), (width, height), interpolation=filter_)
    if rng.random() < 0.5:
        drawn = drawn + rng.normal(0, rng.uniform(0.3, 1.5), drawn.shape)
    picture = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        picture = np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR), dtype=np.uint8)
    return picture
