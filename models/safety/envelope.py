"""The safety envelope of a restorer: which pictures it leaves alone, what a repair must keep, and which it takes back.

The rules know nothing of networks, so they hold for every family and every bundle.  Strict mode is the published
program and has none of them.  A user's order (a prompt, or `only`) is carried out on every picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from models.controls import Controls
from models.restorer import ENLARGING_REPAIR, Request
from models.safety.bounds import exceeds
from models.safety.damage import lessened
from models.safety.gray import gray_like
from models.safety.photographs import is_photograph
from models.vocabulary import CLEAN, is_known

STRENGTH_ZERO, NOT_A_PHOTOGRAPH = "strength-zero", "not-a-photograph"
DID_NOT_HELP, OUT_OF_BOUNDS = "did-not-help", "out-of-bounds"


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The rules that hold: all of them, except where a program measures the price of one (benchmarks/envelope.py).

    Attributes:
        gray: a gray picture stays gray.
        photographs: what is not a photograph is not repaired.
        bounds: a repair that moves more than its kind explains is taken back.
        surplus: a repair after the first must lessen an independent measure of its damage.
    """

    gray: bool = True
    photographs: bool = True
    bounds: bool = True
    surplus: bool = True

    def admitted(self, request: Request, names: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
        """Returns which of the names may be repaired, and the reason to leave the picture alone; None to go on."""
        controls = request.controls
        if controls.blend == 0 or tuple(name for name in names if name != CLEAN) == ():
            return tuple(names), STRENGTH_ZERO
        if not self.photographs or _ordered(controls) or is_photograph(_looked_at(request)):
            return tuple(names), None
        if controls.scale > 1 and ENLARGING_REPAIR in names:  # the user asked for this much
            return tuple(name for name in names if name in (ENLARGING_REPAIR, CLEAN)), None
        return tuple(names), NOT_A_PHOTOGRAPH

    def shaped(self, controls: Controls, label: str, before: Tensor, after: Tensor) -> Tensor:
        """Returns the result of a pass, (3, H, W), without color where the picture had none.

        A degradation that a user has taught the bundle may be a loss of color.
        """
        if not self.gray or controls.strict or not is_known(label):
            return after
        return gray_like(before, after)

    def refusal(self, label: str, before: Tensor, after: Tensor, *, later: bool) -> str | None:
        """Returns why an automatic pass from `before` to `after`, (3, H, W) each, is taken back; None if it is kept.

        `later` says that another repair was kept before it.
        """
        if self.bounds and exceeds(label, before, after):
            return OUT_OF_BOUNDS
        if self.surplus and later and not lessened(label, before, after):
            return DID_NOT_HELP
        return None


def _ordered(controls: Controls) -> bool:
    return controls.strict or controls.prompt is not None or bool(controls.only)


def _looked_at(request: Request) -> Tensor:
    """Returns the whole picture, as its file shows it."""
    shown = (request.whole, request.small, request.image)
    return next(image for image in shown if image is not None)
