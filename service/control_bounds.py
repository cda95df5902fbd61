"""Presets and bounds of the controls, as `GET /limits` lists them for pages and clients."""

from typing import Any

from pydantic import BaseModel

from jobs.spec import JobControls
from models.presets import PRESETS


class PresetBody(BaseModel):
    """A value of `preset`.

    `controls` are the values that it sets unless the request sets them.  A bundle that takes more denoising steps than
    `steps_limit` takes this many; a repair is begun at `floor_share` of the bundle's least probability.
    """

    name: str
    description: str
    controls: dict[str, float | int]
    steps_limit: int | None
    floor_share: float


class ControlBounds(BaseModel):
    """The range of a number, or the values to choose from; null where there is none."""

    default: float | int | str | None
    min: float | int | None = None
    max: float | int | None = None
    values: list[int | str] | None = None


def preset_bodies() -> list[PresetBody]:
    """Return the presets."""
    return [
        PresetBody(
            name=name, description=preset.description, controls=dict(preset.controls), steps_limit=preset.steps_limit,
            floor_share=preset.floor_share,
        )
        for name, preset in PRESETS.items()
    ]  # fmt: skip


def control_bounds() -> dict[str, ControlBounds]:
    """Return the bounds of every control that is a number or a choice, by its name."""
    found = {}
    for name, schema in JobControls.model_json_schema()["properties"].items():
        bounds = _bounds(schema)
        if bounds is not None:
            found[name] = bounds
    return found


def _bounds(schema: dict[str, Any]) -> ControlBounds | None:
    """Return the bounds in the schema of a field; None where it is neither a number nor a choice."""
    options: list[dict[str, Any]] = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    for option in options:
        if "enum" in option:
            return ControlBounds(default=schema.get("default"), values=option["enum"])
        if option.get("type") in ("integer", "number"):
            below = option.get("exclusiveMaximum")
            largest = option.get("maximum") if below is None else below - 1
            return ControlBounds(default=schema.get("default"), min=option.get("minimum"), max=largest)
    return None
