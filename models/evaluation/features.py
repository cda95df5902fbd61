"""Keeps the Inception features of every measured photo on disk, because FID is a distance between whole sets."""

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
MIN_PICTURES = 2

Vectors = dict[str, NDArray[np.float32]]
"""The (D,) features of one photo by name: input, modes, tools, truth."""


class FeatureStore:
    """A folder of TASK/NAME.npz."""

    def __init__(self, folder: Path, extract: Features) -> None:
        self._folder, self._extract = folder, extract

    def keep(self, row: Row, pictures: Mapping[str, Picture]) -> None:
        """Add the features of these pictures to those already stored for the row."""
        found = {**self._read(row), **{name: self._extract(picture) for name, picture in pictures.items()}}
        path = self._path(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **found)  # type: ignore[arg-type]  # the stub mistakes allow_pickle for an array

    def distances(self, rows: Iterable[Row]) -> dict[str, dict[str, float]]:
        """Returns the FID to the ground truths by task and over all pairs, for the input, each mode and each tool.

        A distance needs at least two photos.  It covers the photos for which the mode or tool has a result.
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
        if not self._path(row).is_file():
            return {}
        with np.load(self._path(row)) as file:
            return dict(file)

    def _path(self, row: Row) -> Path:
        return self._folder / row.task / f"{row.name.replace('/', '_')}.npz"


def _distances(members: list[Vectors]) -> dict[str, float]:
    names = dict.fromkeys(name for vectors in members for name in vectors if name != TRUTH)
    pairs = {name: [(of[name], of[TRUTH]) for of in members if name in of] for name in names}
    return {
        name: frechet_distance(np.stack([one for one, _ in both]), np.stack([truth for _, truth in both]))
        for name, both in pairs.items()
        if len(both) >= MIN_PICTURES
    }
