"""PSNR that papers state for their checkpoints, and which of them a bundle and a folder can be compared with.

The figures are in published.toml, each with its source.  Shapes:  H W pixels.  Pictures are RGB (H, W, 3) uint8.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from models.bundle import Manifest
from models.errors import ControlsError
from models.evaluation.pairs import Pair, Picture
from models.psnr import psnr

PUBLISHED = Path(__file__).parent / "published.toml"
LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""ITU-R BT.601, from RGB in 0..255 to Y in 16..235 less 16: Matlab's rgb2ycbcr, with which rain is measured."""


class Figure(BaseModel):
    """The PSNR of one benchmark.  published.toml explains the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str
    psnr_db: float
    images: int = Field(ge=0)
    channels: Literal["RGB", "Y", "not stated"]
    source: str = Field(min_length=1)
    task: str = ""
    files: str = ""
    prompt: str | None = None
    strict: bool = False
    note: str = ""

    def pairs(self, found: Iterable[Pair]) -> list[Pair]:
        """Returns the pairs of this benchmark that have a ground truth."""
        start = re.compile(self.files, re.IGNORECASE)
        return [pair for pair in found if self.task == pair.task and pair.truth and start.match(pair.name)]

    def psnr(self, restored: Picture, truth: Picture) -> float:
        """Returns the PSNR in dB on the channels that the figure was measured on."""
        if self.channels == "Y":
            return psnr(restored @ LUMA, truth @ LUMA, peak=255.0)
        return psnr(restored, truth)


class System(BaseModel):
    """The figures of one system; `reason` says why there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    figures: tuple[Figure, ...] = ()
    reason: str = ""


@cache
def published_systems() -> dict[str, System]:
    """Returns all systems by name."""
    return {
        name: System.model_validate(fields) for name, fields in tomllib.loads(PUBLISHED.read_text())["systems"].items()
    }


def system_of(manifest: Manifest) -> System:
    """Returns the system whose published checkpoint a bundle holds.

    Raises:
        ControlsError: it holds none, because the bundle was trained by somebody else.
    """
    systems, specialists = published_systems(), manifest.networks.get("specialists") or {}
    if any(entry.get("maxim") for entry in specialists.values()):
        return systems["maxim"]
    if "converted from" in manifest.description and manifest.family in systems:
        wild = manifest.family == "daclip" and "2404.09732" in manifest.trained_on
        return systems["daclip-wild" if wild else manifest.family]
    raise ControlsError(
        f"{manifest.name} is not converted from a checkpoint of a paper, so there is nothing published to compare it "
        "with. `undegrade evaluate` measures it on a folder."
    )


def spread(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    """Returns at most `limit` pairs at equal distances: neighbors in a benchmark are often frames of one scene."""
    if limit is None or len(pairs) <= limit:
        return list(pairs)
    return [pairs[index * len(pairs) // limit] for index in range(limit)]
