"""Learn what true repairs move: the numbers of models/safety/bounds.toml, and whether real pairs stay inside.

On held-out photographs (one in 20 by name), each degradation is drawn several times, and what leads from the damaged
crop back to the truth is measured by `models.safety.movement`.  The quantile of 99.5 % is written, and that of 97.5 %
for shares of black and white.

Example: python benchmarks/learn_bounds.py --images ../shared/train --pairs ../shared/eval --each 400
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from models.evaluation.pairs import find_pairs, read_pictures
from models.optional import not_none
from models.pixels import as_image
from models.safety.bounds import FILE, bounds_of, exceeded
from models.safety.movement import Movement, movement
from models.training.data.dataset import as_tensor
from models.training.data.degradations import SYNTHESIZERS
from models.training.data.photos import CropConfig, PhotoPool, decode_into, find_photos

LABELS = ("noise", "blur", "rain", "snow", "raindrop", "haze", "low-light", "low-resolution", "jpeg")
QUANTILE, RARE_QUANTILE = 0.995, 0.975
RARE = ("blackened", "whitened")
"""Photographs of the night are hazed, too: the last per cent of them would allow every blackened sea."""
MOST_PX = 512
FREE = {("haze", "whitened")}
"""Not bounded: a truth of real haze is exposed otherwise than the hazy photo, and white walls turn white."""


def synthetic(pool: PhotoPool, label: str, each: int, crop_px: int) -> Iterator[Movement]:
    for index in range(each):
        rng = np.random.default_rng([49, LABELS.index(label), index])
        clean = pool.crop(rng, CropConfig(crop_px=crop_px, shrink=(0.4, 0.9)))
        yield movement(as_tensor(SYNTHESIZERS[label](clean, rng)), as_tensor(clean))


def learned(pool: PhotoPool, each: int, crop_px: int) -> Iterator[str]:
    yield "# What true repairs move at most (a quantile), by models/safety/movement.py.\n"
    yield f"# benchmarks/learn_bounds.py wrote this, from {each} crops of {crop_px} px of held-out photographs each.\n"
    for label in LABELS:
        rows = [asdict(one) for one in synthetic(pool, label, each, crop_px)]
        yield f"\n[{label}]\n"
        for name in (name for name in rows[0] if (label, name) not in FREE):
            quantile = RARE_QUANTILE if name in RARE else QUANTILE
            value = float(np.quantile([row[name] for row in rows], quantile))
            yield f"{name} = {value:.3f}\n"


def check(folder: Path) -> Iterator[str]:
    """Yields a line for each subset of real pairs: how many true repairs stay inside, and which do not."""
    found: dict[tuple[str, str], list[tuple[str, tuple[str, ...]]]] = {}
    for pair in find_pairs(folder):
        if pair.truth is None or not bounds_of(pair.expected or ""):
            continue
        pictures = read_pictures(pair, MOST_PX)
        over = exceeded(str(pair.expected), movement(as_image(pictures.degraded), as_image(not_none(pictures.truth))))
        found.setdefault((str(pair.expected), pair.subset), []).append((pair.name, over))
    yield "| degradation | subset | pairs | inside | beyond |"
    yield "|---|---|---|---|---|"
    for (label, subset), rows in sorted(found.items()):
        beyond = [f"{name} ({', '.join(over)})" for name, over in rows if over]
        yield f"| {label} | {subset} | {len(rows)} | {len(rows) - len(beyond)} | {'; '.join(beyond)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, action="append", default=[], help="folders of photographs to learn from")
    parser.add_argument("--pairs", type=Path, help="a folder of real pairs to check the bounds with")
    parser.add_argument("--each", type=int, default=400, help="crops for each degradation (default 400)")
    parser.add_argument("--crop", type=int, default=256, help="side of a crop in pixels (default 256)")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/undegrade-held-out"), help="for decoded photos")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.images:
        photos = [path for folder in arguments.images for path in find_photos([folder])[::20]]
        pool = PhotoPool(decode_into(arguments.cache, photos, 1600), validation=True, hold_out=1)
        FILE.write_text("".join(learned(pool, arguments.each, arguments.crop)), encoding="utf-8")
        print(f"wrote {FILE}")
    if arguments.pairs:
        print("\n".join(check(arguments.pairs)))


if __name__ == "__main__":
    main()
