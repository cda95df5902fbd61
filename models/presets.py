"""Presets: named sets of controls.  What a user sets explicitly wins over the preset.

Torch-free.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

PresetName = Literal["auto", "faithful", "strong", "preview"]
SURE = 0.9
"""A repair of this probability is begun with every preset."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A set of controls.

    Attributes:
        controls: values of `models.controls.Controls` that the preset sets, unless the user sets them.
        steps_limit: a bundle that takes more denoising steps per pass takes this many, unless the user sets `steps`.
        floor_share: a repair is begun at so many times the bundle's least probability, but always at SURE.
    """

    description: str
    controls: MappingProxyType[str, float | int] = field(default_factory=lambda: MappingProxyType({}))
    steps_limit: int | None = None
    floor_share: float = 1.0


PRESETS: dict[PresetName, Preset] = {
    "auto": Preset(description="The bundle's own defaults."),
    "faithful": Preset(
        description="Stays close to the photo: only repairs that are rather sure, at most two, and a fifth of the "
        "original is mixed in.",
        controls=MappingProxyType({"strength": 0.8, "fidelity": 1.0, "max_passes": 2}),
        floor_share=1.6,
    ),
    "strong": Preset(
        description="Repairs more: up to seven passes, each begun at half the probability that the bundle asks for.",
        controls=MappingProxyType({"max_passes": 7}),
        floor_share=0.5,
    ),
    "preview": Preset(
        description="Quick: one pass of at most eight denoising steps, at full size.",
        controls=MappingProxyType({"max_passes": 1}),
        steps_limit=8,
    ),
}
"""By name.  docs/api.md has the same table."""


def preset_values(name: PresetName, given: Collection[str]) -> dict[str, float | int]:
    """Returns the values that a preset adds to the controls that are given."""
    return {control: value for control, value in PRESETS[name].controls.items() if control not in given}
