"""The bounds of each repair: what it may move at most, learned from what true repairs move (bounds.toml).

`benchmarks/learn_bounds.py` writes the numbers.  Repairs without bounds (shadow, holes, learned words) are free.
"""

import tomllib
from dataclasses import asdict
from functools import cache
from pathlib import Path

from torch import Tensor

from models.safety.movement import Movement, movement

FILE = Path(__file__).parent / "bounds.toml"
MARGIN = 1.25
"""A network's repair may move this much more than a true one, and `SLACK` beside it."""
SLACK = {"darker": 4.0, "brighter": 4.0, "blackened": 0.01, "whitened": 0.01, "grayer": 0.1, "flatter": 0.1}
"""Levels, or shares."""


@cache
def bounds_of(label: str) -> dict[str, float]:
    """Returns the most that true repairs of a degradation moved, by the names of `Movement`; empty if it is free."""
    stated = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {name: float(value) for name, value in stated.get(label, {}).items()}


def exceeded(label: str, moved: Movement) -> tuple[str, ...]:
    """Returns the names of what moved farther than a repair of this degradation explains."""
    found = asdict(moved)
    return tuple(name for name, most in bounds_of(label).items() if found[name] > max(most, 0) * MARGIN + SLACK[name])


def exceeds(label: str, before: Tensor, after: Tensor) -> bool:
    """Returns whether a repair of `before`, (3, H, W), went beyond its bounds."""
    return bool(bounds_of(label)) and bool(exceeded(label, movement(before, after)))
