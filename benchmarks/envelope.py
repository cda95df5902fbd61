"""Measure the price of the safety envelope's rules: what each takes from the restorations of damaged pictures, in dB.

The restorations run without the rules, and a recorder asks each rule about every pass.  A picture that a rule refuses
keeps the result of the pass before.  So one run tells what every rule would have cost or saved.

Example: python benchmarks/envelope.py --pairs ../shared/eval --images ../shared/train --each 4
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import cv2
import numpy as np
import torch
from conditions import header, make_parser
from promises import MIXTURES
from torch import Tensor

from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle
from models.controls import Controls
from models.daclip.restorer import DaCLIPRestorer
from models.drive import restore_one
from models.evaluation.pairs import find_pairs, read_pictures
from models.families import load_restorer
from models.optional import not_none
from models.pixels import as_image, floats
from models.psnr import mean_psnr
from models.restorer import Request
from models.safety.bounds import exceeds
from models.safety.damage import lessened
from models.safety.envelope import Envelope
from models.safety.gray import gray_like
from models.safety.photographs import is_photograph
from models.training.data.dataset import as_tensor
from models.training.data.degradations import PHYSICAL_ORDER, SYNTHESIZERS
from models.training.data.not_photographs import KINDS, draw
from models.training.data.photos import CropConfig, PhotoPool, decode_into, find_photos

RULES = ("photographs", "bounds", "surplus")


@dataclass(frozen=True, kw_only=True)
class Recorder(Envelope):
    """Keeps every pass, and notes what the rules would have said: (rule, the picture that would have stayed)."""

    notes: list[tuple[str, Tensor]] = field(default_factory=list)

    def refusal(self, label: str, before: Tensor, after: Tensor, *, later: bool) -> str | None:
        if exceeds(label, before, after):
            self.notes.append(("bounds", before))
        if later and not lessened(label, before, after):
            self.notes.append(("surplus", before))
        return None


@dataclass(frozen=True)
class Measured:
    """The PSNR of a picture before, after, and after by each rule that would have stopped it."""

    before: float
    after: float
    stopped: dict[str, float]


def measured(restorer: AutoDIR | DaCLIPRestorer, degraded: Tensor, truth: Tensor) -> Measured:
    recorder = Recorder(gray=False, photographs=False)
    restorer.envelope = recorder
    restored = restore_one(restorer, Request(image=degraded, controls=Controls())).image
    stopped: dict[str, float] = {}
    for rule, kept in recorder.notes:
        stopped.setdefault(rule, psnr(kept, truth))  # the first refusal ends the loop
    before = psnr(degraded, truth)
    if not is_photograph(degraded):
        stopped["photographs"] = before
    return Measured(before, psnr(restored, truth), stopped)


def psnr(image: Tensor, truth: Tensor) -> float:
    return mean_psnr(floats(image)[None], floats(truth)[None])


def table(rows: dict[str, list[Measured]]) -> Iterator[str]:
    yield "| pictures | n | gain without rules | " + " | ".join(f"{rule}: stopped, dB" for rule in RULES) + " | all |"
    yield "|---|---|---|" + "---|" * (len(RULES) + 1)
    everything = [row for group in rows.values() for row in group]
    for name, group in [*rows.items(), ("**all**", everything)]:
        cells = []
        for rule in RULES:
            changes = [row.stopped[rule] - row.after for row in group if rule in row.stopped]
            cells.append(f"{len(changes)}, {sum(changes) / len(group):+.2f}")
        joint = [next((row.stopped[rule] for rule in RULES if rule in row.stopped), row.after) for row in group]
        gain = mean(row.after - row.before for row in group)
        total = mean(one - row.after for one, row in zip(joint, group, strict=True))
        yield f"| {name} | {len(group)} | {gain:+.2f} | {' | '.join(cells)} | {total:+.2f} |"


def pairs(restorer: AutoDIR | DaCLIPRestorer, folder: Path, limit: int | None) -> dict[str, list[Measured]]:
    rows: dict[str, list[Measured]] = {}
    for pair in find_pairs(folder, limit=limit):
        if pair.truth is None or pair.expected not in restorer.names:
            continue
        pictures = read_pictures(pair, 384)
        row = measured(restorer, as_image(pictures.degraded), as_image(not_none(pictures.truth)))
        rows.setdefault(pair.subset, []).append(row)
        for rule, kept in row.stopped.items():
            print(f"# {pair.task}/{pair.name}: {rule} would have stopped it: {kept - row.after:+.2f} dB", flush=True)
    return rows


def mixtures(restorer: AutoDIR | DaCLIPRestorer, pool: PhotoPool, each: int) -> dict[str, list[Measured]]:
    rows: dict[str, list[Measured]] = {}
    for number, kinds in enumerate(MIXTURES):
        for index in range(each):
            rng = np.random.default_rng([20261121, number, index])
            clean = picture = pool.crop(rng, CropConfig(crop_px=256, shrink=(0.5, 0.9)))
            for kind in sorted(kinds, key=PHYSICAL_ORDER.index):
                picture = SYNTHESIZERS[kind](picture, rng)
            row = measured(restorer, as_tensor(picture), as_tensor(clean))
            rows.setdefault(" + ".join(kinds), []).append(row)
    return rows


def recognized(pool: PhotoPool, each: int) -> Iterator[str]:
    """Yields how many drawn pictures are recognized, and how many damaged and clean photographs are taken for them."""
    yield "| pictures | n | not taken for photographs |"
    yield "|---|---|---|"
    for kind in KINDS:
        found = [is_photograph(as_image(draw(kind, np.random.default_rng([50, index])))) for index in range(each)]
        yield f"| drawn: {kind} | {each} | {found.count(False)} |"
    for kind in ("clean", *sorted(SYNTHESIZERS)):
        found = [is_photograph(as_tensor(picture)) for picture in _photographs(pool, kind, each)]
        yield f"| photographs, {kind} | {each} | {found.count(False)} |"


def _photographs(pool: PhotoPool, kind: str, each: int) -> Iterable[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    for index in range(each):
        rng = np.random.default_rng([51, index])
        crop = pool.crop(rng, CropConfig(crop_px=256, shrink=(0.2, 0.9)))
        yield crop if kind == "clean" else SYNTHESIZERS[kind](crop, rng)


def gray_pairs(restorer: AutoDIR | DaCLIPRestorer, folder: Path) -> Iterator[str]:
    """Yields what the rule for gray pictures costs: pairs without their color, told what is wrong."""
    changes = []
    for pair in find_pairs(folder, limit=1):
        if pair.truth is None or pair.expected not in restorer.names:
            continue
        pictures = read_pictures(pair, 256)
        degraded, truth = (
            as_image(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
            for picture in (pictures.degraded, not_none(pictures.truth))
        )
        restorer.envelope = Envelope(gray=False)
        controls = Controls(only=(pair.expected,), max_passes=1)
        free = restore_one(restorer, Request(image=degraded, controls=controls)).image
        if free is not degraded:
            changes.append(psnr(gray_like(degraded, free), truth) - psnr(free, truth))
    yield f"gray pictures: {len(changes)} pairs, {mean(changes):+.3f} dB by the rule (least {min(changes):+.3f})"


def main() -> None:
    parser: argparse.ArgumentParser = make_parser(__doc__)
    parser.add_argument("--bundle", default="autodir-small")
    parser.add_argument("--pairs", type=Path, help="a folder of TASK/lq and TASK/gt")
    parser.add_argument("--limit", type=int, help="pairs of each subset")
    parser.add_argument("--images", type=Path, action="append", default=[], help="folders of photographs")
    parser.add_argument("--each", type=int, default=4, help="crops of each mixture; ten times as many are drawn")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/undegrade-held-out"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    restorer = load_restorer(find_bundle(arguments.bundle), torch.device("cpu"))
    assert isinstance(restorer, AutoDIR | DaCLIPRestorer)
    print(header(arguments.bundle), end="\n\n")
    if arguments.images:
        photos = [path for folder in arguments.images for path in find_photos([folder])[::20]]
        pool = PhotoPool(decode_into(arguments.cache, photos, 1600), validation=True, hold_out=1)
        print("\n".join(recognized(pool, 10 * arguments.each)), flush=True)
        print("\n".join(table(mixtures(restorer, pool, arguments.each))), flush=True)
    if arguments.pairs:
        print("\n".join(gray_pairs(restorer, arguments.pairs)), flush=True)
        print("\n".join(table(pairs(restorer, arguments.pairs, arguments.limit))), flush=True)


if __name__ == "__main__":
    main()
