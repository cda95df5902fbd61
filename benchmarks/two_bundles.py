"""How far two bundles differ, picture by picture: a bundle and its smaller copy (`python -m models.training slim`).

Three rows by the way of asking: automatic, told the damage, and the published loop (--strict).  Each compares the
results with each other, and both with the ground truth.  Before them: how both read prompts, and how sure both are.

Example: python benchmarks/two_bundles.py autodir-small smaller ../shared/eval --each 2 --crop 256
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from conditions import CPU, header, make_parser

from models.autodir.assessor import prompt_of
from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.daclip.controller import classify
from models.daclip.restorer import DaCLIPRestorer
from models.drive import restore_one
from models.evaluation.pairs import Pair, find_pairs, read_pictures
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.psnr import psnr
from models.restorer import Request, Restorer
from models.training.data.phrases import HELD_OUT

WAYS = ("automatic", "told", "strict")


@torch.no_grad()
def prompts(restorers: Sequence[Restorer]) -> str:
    """Returns a sentence on the phrases that no training has seen."""
    known = [(text, name) for text, name in HELD_OUT if name in restorers[0].names]
    answers = [[scores(restorer, text) for text, _ in known] for restorer in restorers]
    right = [sum(top(one) == name for one, (_, name) in zip(row, known, strict=True)) for row in answers]
    pairs = list(zip(*answers, strict=True))
    same = sum(top(one) == top(other) for one, other in pairs)
    return f"{len(known)} held-out phrases: {right[0]} and {right[1]} right, {same} read alike"


def scores(restorer: Restorer, prompt: str) -> dict[str, float]:
    """Returns how much a prompt resembles each name."""
    if isinstance(restorer, AutoDIR):
        return restorer.assessor.prompt_probabilities(prompt)
    assert isinstance(restorer, DaCLIPRestorer)
    words, controller = restorer.config.words, restorer.controller
    shares = classify(controller.word_features([prompt]), controller.word_features(list(words.values())))[0]
    return dict(zip(words, shares.tolist(), strict=True))


def top(found: dict[str, float]) -> str:
    return max(found, key=lambda name: found[name])


def looks(restorers: Sequence[Restorer], images: Sequence[torch.Tensor]) -> str:
    """Returns a sentence on the first assessments."""
    first, second = ([restorer.assess([image])[0].probabilities for image in images] for restorer in restorers)
    apart = max(abs(one[name] - other[name]) for one, other in zip(first, second, strict=True) for name in one)
    same = sum(top(one) == top(other) for one, other in zip(first, second, strict=True))
    return f"{len(images)} pictures: {same} get the same label, probabilities differ by {apart:.1e} at most"


def controls_of(way: str, pair: Pair) -> Controls | None:
    """Returns how to ask for a pair's repair; None if its damage has no name."""
    if way == "told":
        return None if pair.expected is None else Controls(prompt=prompt_of(pair.expected), seed=0)
    return Controls(strict=way == "strict", seed=0)


def row(restorers: Sequence[Restorer], pairs: Sequence[Pair], way: str, crop_px: int) -> str:
    """Returns a row of the table."""
    apart, levels, to_truth, count = np.inf, 0, [0.0, 0.0], 0
    for pair in pairs:
        controls, pictures = controls_of(way, pair), read_pictures(pair, crop_px)
        if controls is None or pictures.truth is None or pair.expected not in restorers[0].names:
            continue
        request = Request(image=to_tensor(pictures.degraded), controls=controls)
        results = [torch.from_numpy(to_pixels(restore_one(restorer, request).image)) for restorer in restorers]
        apart = min(apart, psnr(results[0], results[1]))
        levels = max(levels, int((results[0].int() - results[1].int()).abs().max()))
        truth = torch.from_numpy(pictures.truth)
        to_truth = [total + psnr(result, truth) for total, result in zip(to_truth, results, strict=True)]
        count += 1
    means = " | ".join(f"{total / max(count, 1):.3f}" for total in to_truth)
    return f"| {way} | {count} | {apart:.1f} | {levels} | {means} |"


def run(arguments: argparse.Namespace) -> None:
    bundles = [find_bundle(name) for name in (arguments.one, arguments.other)]
    restorers = [load_restorer(bundle, CPU) for bundle in bundles]
    pairs = [pair for pair in find_pairs(arguments.pairs, limit=arguments.each) if pair.expected in restorers[0].names]
    images = [to_tensor(read_pictures(pair, arguments.crop).degraded) for pair in pairs]
    sizes = [sum(file.bytes for file in read_manifest(bundle).files.values()) / 2**20 for bundle in bundles]
    print(header(f"two bundles: {sizes[0]:.1f} and {sizes[1]:.1f} MiB"))
    print(f"\n- {prompts(restorers)}\n- {looks(restorers, images)}\n", flush=True)
    print("| way | pictures | least dB between results | most levels | dB to the truth, first | second |")
    print("|---|---|---|---|---|---|")
    for way in arguments.ways:
        print(row(restorers, pairs, way, arguments.crop), flush=True)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("one", help="name or folder of a bundle")
    parser.add_argument("other", help="name or folder of another one, of the same family")
    parser.add_argument("pairs", type=Path, help="folder of TASK/lq/NAME and TASK/gt/NAME")
    parser.add_argument("--each", type=int, default=1, help="pairs of each benchmark; default: 1")
    parser.add_argument("--crop", type=int, default=256, help="largest side of the center crops in px; default: 256")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="default: all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run(arguments)


if __name__ == "__main__":
    main()
