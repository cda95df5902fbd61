"""Measure mixtures of degradations, `strength`, and faces and small text, on photos held out from training.

Mixtures: two degradations on one crop, in 8 bits as in a file.  The PSNR of the automatic mode is compared with the
better of two single prompted passes, and with two prompted passes that repair the last degradation first.
Strength: whether the mean change increases with `strength`, for each degradation.
Faces and small text: the mean absolute error before and after, for crops with white noise, and the mean change of clean
crops.  Errors and changes are of 255.

Examples:
    python benchmarks/promises.py --images ../shared/train --images ../photos
    python benchmarks/promises.py --images ../shared/train --images ../photos --each 20 --only-mixtures
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import cv2
import numpy as np
import torch
from conditions import header, make_parser
from numpy.typing import NDArray
from torch import Tensor

from models.autodir.assessor import prompt_of
from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.drive import restore_one
from models.evaluation.mixtures import MIXTURES, damaged
from models.families import load_restorer
from models.pixels import to_tensor
from models.psnr import mean_psnr
from models.restorer import Request, Restorer
from models.training.data.dataset import as_tensor
from models.training.data.degradations import PHYSICAL_ORDER, SYNTHESIZERS
from models.training.data.photos import CropConfig, PhotoPool, decode_into, find_photos

TARGET_DB = 1.0
"""The goal of the automatic mode on mixtures, over the better of two single prompted passes."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
FACES = {
    "cid22_0182.jpg": (60, 20, 320), "clic2025_0022.jpg": (880, 40, 256),
    "gcompris-qt-data__b4a6d85a__explore_world_music_0.webp": (420, 300, 256),
}  # fmt: skip
"""File name, and left, top and side of the square crop in pixels."""
TEXT = {"gcompris-qt-data__0f0aa2d3__explore_world_music_3.webp": (200, 110, 256)}
WRITTEN = ("cid22_0144.jpg", "lxqt-themes__f2d275c5__Valendas.png", "cid22_0009.jpg")
"""Photos on which small text is drawn."""

Pixels = NDArray[np.uint8]


def restore(restorer: Restorer, image: Tensor, **controls: object) -> Tensor:
    return restore_one(restorer, Request(image=image, controls=Controls(**controls))).image  # type: ignore[arg-type]


def mixtures(restorer: Restorer, pool: PhotoPool, each: int, crop_px: int) -> Iterator[str]:
    yield "| mixture | input | best single pass | automatic | gain over single pass | passes | both prompted |"
    yield "|---|---|---|---|---|---|---|"
    rows = []
    for number, kinds in enumerate(MIXTURES):
        for index in range(each):
            rng = np.random.default_rng([20261121, number, index])
            crop = pool.crop(rng, CropConfig(crop_px=crop_px, shrink=(0.5, 0.9)))
            clean = np.asarray((crop * 255).round(), np.uint8)  # as a file has it: shadows lose their levels
            order = sorted(kinds, key=PHYSICAL_ORDER.index)
            truth, degraded = to_tensor(clean)[None], to_tensor(damaged(clean, kinds, rng))
            single = max(mean_psnr(restore(restorer, degraded, prompt=prompt_of(kind))[None], truth) for kind in kinds)
            restored = restore_one(restorer, Request(image=degraded, controls=Controls()))
            kept = sum(entry.kept for entry in restored.report.passes)
            prompted = degraded
            for kind in reversed(order):
                prompted = restore(restorer, prompted, prompt=prompt_of(kind))
            results = [mean_psnr(image[None], truth) for image in (degraded, restored.image, prompted)]
            rows.append((kinds, results[0], single, results[1], kept, results[2]))
    groups = [(" + ".join(kinds), [row for row in rows if row[0] == kinds]) for kinds in MIXTURES]
    for name, group in [*groups, ("**all**", rows)]:
        before, single, auto, passes, both = (mean(row[at] for row in group) for at in (1, 2, 3, 4, 5))
        yield (
            f"| {name} | {before:.2f} | {single:.2f} | {auto:.2f} | {auto - single:+.2f} | {passes:.1f} "
            f"| {both:.2f} ({both - single:+.2f}) |"
        )
    gain = mean(row[3] - row[2] for row in rows)
    error = stdev(row[3] - row[2] for row in rows) / len(rows) ** 0.5 if len(rows) > 1 else 0.0
    verdict = "reached" if gain >= TARGET_DB else "missed"
    yield ""
    yield (
        f"Automatic mode over the better single pass: {gain:+.2f} dB (standard error {error:.2f}, {len(rows)} crops); "
        f"the target is {TARGET_DB:+.1f} dB: {verdict}."
    )


def strengths(restorer: Restorer, pool: PhotoPool, crop_px: int) -> Iterator[str]:
    yield "| degradation | " + " | ".join(f"{strength:g}" for strength in STRENGTHS) + " | increases |"
    yield "|---" * (len(STRENGTHS) + 2) + "|"
    for number, kind in enumerate(name for name in restorer.names if name in SYNTHESIZERS):
        rng = np.random.default_rng([3, number])
        degraded = as_tensor(SYNTHESIZERS[kind](pool.crop(rng, CropConfig(crop_px=crop_px)), rng))
        changes = [
            float((restore(restorer, degraded, prompt=prompt_of(kind), strength=strength) - degraded).abs().mean())
            for strength in STRENGTHS
        ]
        increases = (
            "yes" if changes[0] == 0 and all(weaker < stronger for weaker, stronger in pairwise(changes)) else "NO"
        )
        yield f"| {kind} | " + " | ".join(f"{127.5 * value:.2f}" for value in changes) + f" | {increases} |"


def close_ups(files: dict[str, Pixels]) -> Iterator[tuple[str, Pixels]]:
    """Yields crops of faces and of small text from the available photos."""
    for what, boxes in (("face", FACES), ("text", TEXT)):
        for name, (left, top, side) in boxes.items():
            if name in files:
                yield what, files[name][top : top + side, left : left + side]
    for name in WRITTEN:
        if name in files:
            page = files[name][100:356, 100:356].copy()
            for line in range(10):
                at, tone = (6, 22 + 25 * line), (235 - 20 * line,) * 3
                cv2.putText(page, f"No. {line}: small letters, 12:{line}5", at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, tone, 1)
            yield "text", page


def faces_and_text(restorer: Restorer, files: dict[str, Pixels]) -> Iterator[str]:
    yield "| crop | noise | error before | error after | change of the clean crop |"
    yield "|---|---|---|---|---|"
    for what, pixels in close_ups(files):
        truth = as_tensor(pixels.astype(np.float32) / np.float32(255))
        clean_change = 127.5 * float((restore(restorer, truth) - truth).abs().mean())
        for sigma in (15, 25):
            generator = torch.Generator().manual_seed(sigma)
            noise = torch.randn(truth.shape, generator=generator) * (sigma / 127.5)
            noisy = (truth + noise).mul(127.5).round().div(127.5).clamp(-1, 1)
            before, after = (127.5 * float((image - truth).abs().mean()) for image in (noisy, restore(restorer, noisy)))
            yield f"| {what} {pixels.shape[1]} px | {sigma} | {before:.2f} | {after:.2f} | {clean_change:.2f} |"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=Path, action="append", required=True, help="training photos; repeatable")
    parser.add_argument("--bundle", help="name or folder of a bundle; the shipped one by default")
    parser.add_argument("--each", type=int, default=4, help="crops per mixture")
    parser.add_argument("--crop", type=int, default=256, help="side of the crops in pixels")
    parser.add_argument("--only-mixtures", action="store_true", help="leave out strength, faces and text")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded photos")
    arguments = parser.parse_args()
    bundle = find_bundle(arguments.bundle)
    restorer, manifest = load_restorer(bundle, torch.device("cpu")), read_manifest(bundle)
    photos = find_photos(arguments.images)
    pool = PhotoPool(decode_into(arguments.cache, photos, 1600), validation=True)
    wanted = {*FACES, *TEXT, *WRITTEN}
    files = {
        path.name: np.load(decoded)
        for path in photos
        if path.name in wanted
        for decoded in decode_into(arguments.cache, [path], 1600)
    }
    photos_text = f"{len(pool)} held-out photos, crops of {arguments.crop} px"
    print(header(f"{manifest.name} {manifest.version}", photos_text), end="\n\n")
    parts = [
        ("Mixtures of two (PSNR in dB)", mixtures(restorer, pool, arguments.each, arguments.crop)),
        ("Mean change by strength (of 255)", strengths(restorer, pool, arguments.crop)),
        ("Faces and small text (mean difference, of 255)", faces_and_text(restorer, files)),
    ]
    for title, lines in parts[:1] if arguments.only_mixtures else parts:
        print(f"## {title}\n")
        for line in lines:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
