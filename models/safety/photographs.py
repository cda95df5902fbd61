"""Recognizes pictures that are no photographs, and so have no damage that a restorer of photographs understands.

An assessor of photographs calls a black frame dark, a code of squares compressed, and a starry sky snow.  The rules are
conjunctions of plain statistics with wide margins to damaged photographs (docs/decisions/0049): a picture that is in
doubt is a photograph.  What costs little is asked first, so most photographs need few of them.

Images are RGB (3, H, W), see models.pixels.
"""

from typing import Literal

from torch import Tensor

from models.safety.statistics import Statistics

Kind = Literal["blank", "graphic", "page", "stars"]
LEAST_PX = 16
"""Smaller pictures are photographs: they have too few pixels for statistics."""


def is_photograph(image: Tensor) -> bool:
    """Returns whether an image is a photograph, as far as one can tell; true in doubt."""
    return min(image.shape[-2:]) < LEAST_PX or kind_of(Statistics(image)) is None


def kind_of(found: Statistics) -> Kind | None:
    """Returns what a picture is instead of a photograph; None for photographs."""
    if _is_blank(found):
        return "blank"
    if _is_sky(found):
        return "stars"
    if _is_page(found):
        return "page"
    return "graphic" if _is_graphic(found) else None


def _is_blank(found: Statistics) -> bool:
    """One color, with the grain of a sensor at most."""
    return found.block_range <= 4.5 and found.range <= 20


def _is_sky(found: Statistics) -> bool:
    """Isolated points on a dark and even ground.  Rain and snow have streaks and flakes, and a scene behind them."""
    if found.block_median >= 64 or found.block_spread >= 30:
        return False
    points = found.points
    return points.points > 300 and points.bright < 0.08 and points.compact > 0.65


def _is_page(found: Statistics) -> bool:
    """Thin dark strokes all over an even, bright and gray ground."""
    if found.median < 110 or found.saturation > 30 or found.edges.hard < 0.15 or found.few < 0.92:
        return False
    strokes = found.strokes
    return strokes.paper >= 0.7 and strokes.ink >= 0.03 and strokes.thick < 0.1 and strokes.written >= 0.5


def _is_graphic(found: Statistics) -> bool:
    """Few colors, flat areas, and hard edges between them."""
    if found.contrast < 60 or found.edges.hard < 0.25 or found.edges.flat < 0.4:
        return False
    return found.grain <= 1.3 and found.few >= 0.8
