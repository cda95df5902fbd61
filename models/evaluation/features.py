"""Inception features of every measured picture, kept on disk, since FID is a distance between whole sets."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.frechet import frechet_distance
from models.evaluation.measurements import Row
from models.evaluation.pairs import Picture
from models.evaluation.perceptual import Features
from models.vocabulary import CLEAN

TRUTH = "truth"
FEWEST = 2

Vectors = dict[str, NDArray[np.float32]]
"""A picture's (D,) features by name: input, modes, tools, truth."""


class FeatureStore:
    """A folder TASK/NAME.npz."""

    def __init__(self, folder: Path, extract: Features) -> None:
        self._folder, self._extract = folder, extract

    def keep(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        """Add what was measured now to what was kept of the same picture."""
        found = {**self._read(row), **{name: self._extract(picture) for name, picture in pictures.items()}}
        place = self._place(row)
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, **found)  # type: ignore[arg-type]  # the stub takes allow_pickle for one of the names

    def distances(self, rows: Iterable[Row]) -> dict[str, dict[str, float]]:
        """FID to the truths, by task and over all pairs, of the input and of each mode and tool.

        Each is over the pictures that it has, and only where those are two or more.
        """
        sets: dict[str, list[Vectors]] = {}
        for row in rows:
            vectors = self._read(row)
            if row.task != CLEAN and TRUTH in vectors:
                sets.setdefault(row.task, []).append(vectors)
        sets = dict(sorted(sets.items()))
        if len(sets) > 1:
            sets["all pairs"] = [vectors for members in sets.values() for vectors in members]
        return {name: found for name, members in sets.items() if (found := _distances(members))}

    def _read(self, row: Row) -> Vectors:
        if not self._place(row).is_file():
            return {}
        with np.load(self._place(row)) as file:
            return dict(file)

    def _place(self, row: Row) -> Path:
        return self._folder / row.task / f"{row.name.replace('/', '_')}.npz"


def _distances(members: list[Vectors]) -> dict[str, float]:
    names = dict.fromkeys(name for vectors in members for name in vectors if name != TRUTH)
    pairs = {name: [(of[name], of[TRUTH]) for of in members if name in of] for name in names}
    return {
        name: frechet_distance(np.stack([one for one, _ in both]), np.stack([truth for _, truth in both]))
        for name, both in pairs.items()
        if len(both) >= FEWEST
    }
