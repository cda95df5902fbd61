"""Learning a degradation from few pairs: PSNR on held-out pairs against CPU time, pretrained against from nothing.

`make` writes pairs with a synthetic damage that no bundle knows: slides that faded, or the banding of a bad sensor.
`split` halves a folder of real pairs at random, several times.  `curves` trains a specialist for each number of pairs
and each start, as `undegrade learn` does, and appends a row per measurement.  `draw` writes the figure and prints the
table.  `labels` counts right labels of bundles on the pairs of an evaluation folder.

    python benchmarks/learn.py make --images photos/ --damage banding --out runs/banding
    python benchmarks/learn.py curves --pairs runs/banding --start detail --out runs/banding.jsonl --steps 300
    python benchmarks/learn.py split ../shared/eval/underwater --out runs/underwater
    for half in runs/underwater/*; do
        python benchmarks/learn.py curves --pairs $half --counts 5 --out runs/underwater.jsonl --steps 200
    done
    python benchmarks/learn.py draw runs/banding.jsonl --out docs/figures/learn-banding.svg
    python benchmarks/learn.py labels ../shared/eval --bundle autodir-small --bundle runs/learned

`undegrade learn runs/banding/30 --test runs/banding/test --name banding --out runs/learned` then does the whole.
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle
from models.evaluation.pairs import find_pairs, read_pictures
from models.families import load_restorer
from models.psnr import psnr
from models.training.core.sources import TrainingData
from models.training.core.trainer import Trainer, TrainingState
from models.training.data.own_pairs import OwnPairs, load_own_pairs
from models.training.data.photos import find_photos
from models.training.learn.measurement import center
from models.training.learn.plan import LearnPlan
from models.training.learn.specialist import CLEAN_SHARE, _run, _stage

COUNTS = (10, 30, 90)
NAME = "damage"
TEST_PAIRS = 12
SIDE_PX = 288
CROP_PX, BATCH = 96, 4
COLORS = ("#c2570c", "#0f766e", "#1d4ed8", "#7e22ce")


def faded(clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Bleaches a picture (BGR) like the dyes of one box of slides: less contrast, a veil, and a warm cast."""
    much = rng.uniform(0.8, 1.2)
    contrast = 1 - (1 - np.array([0.42, 0.50, 0.62])) * much
    veil = np.array([0.10, 0.16, 0.24]) * much
    return np.clip(veil + contrast * clean ** rng.uniform(1.0, 1.2), 0, 1).astype(np.float32)


def banded(clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Adds stripes along rows or columns: an offset for each, correlated over a few rows and over the channels."""
    if rng.random() < 0.5:
        return _with_stripes(clean.transpose(1, 0, 2), rng).transpose(1, 0, 2)
    return _with_stripes(clean, rng)


def _with_stripes(clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    rows = clean.shape[0]
    width = rng.uniform(0.6, 3.0)
    offsets = cv2.GaussianBlur(rng.normal(size=(rows, 4)), (1, 0), sigmaX=1e-3, sigmaY=width)
    offsets /= offsets.std(axis=0)
    mixed = offsets[:, :1] + 0.35 * offsets[:, 1:]  # (H, 3)
    return np.clip(clean + rng.uniform(8, 24) / 255 * mixed[:, None, :], 0, 1).astype(np.float32)


DAMAGES = {"faded": faded, "banding": banded}


def make(arguments: argparse.Namespace) -> None:
    """Write nested sets of 10, 30 and 90 pairs, and the test pairs, each from another photo."""
    photos = find_photos(arguments.images)
    rng = np.random.default_rng(arguments.seed)
    order = rng.permutation(len(photos))[: TEST_PAIRS + max(COUNTS)]
    for number, index in enumerate(order):
        pixels = cv2.imread(str(photos[index]), cv2.IMREAD_COLOR)
        scale = max(0.35, SIDE_PX / min(pixels.shape[:2]))
        pixels = cv2.resize(
            pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        top, left = (int(rng.integers(side - SIDE_PX + 1)) for side in pixels.shape[:2])
        clean = pixels[top : top + SIDE_PX, left : left + SIDE_PX].astype(np.float32) / 255
        damaged = DAMAGES[arguments.damage](clean, rng)
        sets = ["test"] if number < TEST_PAIRS else [str(n) for n in COUNTS if number < TEST_PAIRS + n]
        for name in sets:
            for part, picture in (("lq", damaged), ("gt", clean)):
                path = arguments.out / name / part / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.rint(picture * 255).astype(np.uint8))


def curves(arguments: argparse.Namespace) -> None:
    """Train for each number of pairs and each start, and write the PSNR gain on the test pairs every few steps."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    restorer = load_restorer(find_bundle("autodir-small"), torch.device("cpu"))
    assert isinstance(restorer, AutoDIR)
    cache = arguments.out.with_suffix(".cache")
    loaded = load_own_pairs(arguments.pairs / "test", cache, name=NAME)
    test = [center(pair) for pair in (*loaded.train, *loaded.held_out)]
    done = _done(arguments.out)
    for count in arguments.counts:
        found = load_own_pairs(arguments.pairs / str(count), cache, name=NAME)
        pairs = OwnPairs(train=(*found.train, *found.held_out), held_out=found.held_out[:1])
        for start in (arguments.start, "fresh"):
            if (str(arguments.pairs), count, start) not in done:
                _curve(arguments, restorer, pairs, test, count, start)


def _curve(arguments, restorer, pairs, test, count, start) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Train once; `fresh` is the same network with random weights."""
    plan = LearnPlan(
        folder=arguments.pairs,
        name=NAME,
        bundle=Path(),
        out=Path(),
        batch=BATCH,
        crop_px=CROP_PX,
        steps=arguments.steps,
    )
    data = TrainingData(pairs=pairs, clean_share=CLEAN_SHARE)
    run = _run(
        plan,
        arguments.out.with_suffix(".run"),
        torch.device("cpu"),
        "scratch" if start == "fresh" else start,
        plan.steps,
    )
    stage = _stage(plan, data, restorer, run, arguments.start)
    if start == "fresh":
        from models.training.autodir.specialist_stage import _initialized

        torch.manual_seed(0)
        stage.network.load_state_dict(_initialized(stage.config).state_dict())
    trainer = Trainer(stage, run, torch.device("cpu"), stage.config)
    began = time.process_time()
    spent = 0.0

    def record(state: TrainingState) -> None:
        nonlocal spent
        if state.step % arguments.every and state.step != 1:
            return
        now = time.process_time()
        live = {name: value.clone() for name, value in trainer.network.state_dict().items()}
        trainer.network.load_state_dict(trainer.average)
        with torch.no_grad():
            gains = [
                psnr(trainer.network(damaged[None])[0].clamp(-1, 1), truth, peak=2.0) - psnr(damaged, truth, peak=2.0)
                for damaged, truth in test
            ]
        trainer.network.load_state_dict(live)
        row = {
            "set": str(arguments.pairs),
            "pairs": count,
            "start": start,
            "step": state.step,
            "cpu_s": round(now - began - spent, 1),
            "gain": round(sum(gains) / len(gains), 3),
        }
        with arguments.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)
        spent += time.process_time() - now

    trainer.train(Console(quiet=True), on_step=record)
    with arguments.out.open("a") as file:
        file.write(json.dumps({"set": str(arguments.pairs), "pairs": count, "start": start, "finished": True}) + "\n")


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _done(path: Path) -> set[tuple[object, ...]]:
    return {(row["set"], row["pairs"], row["start"]) for row in _rows(path) if row.get("finished")}


def split(arguments: argparse.Namespace) -> None:
    """Halve the pairs several times; each half is once trained on and once measured on.  The files are links."""
    names = sorted(path.name for path in (arguments.folder / "lq").iterdir())
    for number in range(arguments.splits):
        order = np.random.default_rng(number).permutation(len(names))
        halves = order[: len(names) // 2], order[len(names) // 2 :]
        for letter, train, test in (("a", *halves), ("b", *halves[::-1])):
            for part, chosen in ((str(len(train)), train), ("test", test)):
                for side, index in ((side, index) for side in ("lq", "gt") for index in chosen):
                    link = arguments.out / f"{number}{letter}" / part / side / names[index]
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to((arguments.folder / side / names[index]).resolve())


def labels(arguments: argparse.Namespace) -> None:
    """Print how many pictures of each task get their label from each bundle; centers of 384 px."""
    torch.set_num_threads(1)
    pairs = [pair for pair in find_pairs(arguments.folder) if pair.expected is not None]
    restorers = [load_restorer(find_bundle(bundle), torch.device("cpu")) for bundle in arguments.bundle]
    pairs = [pair for pair in pairs if pair.expected in restorers[0].names]
    counts: dict[str, list[int]] = {}
    for pair in pairs:
        pixels = np.array(read_pictures(pair, 384).degraded)
        image = torch.from_numpy(pixels).permute(2, 0, 1).float().div(127.5).sub(1)
        answers = [restorer.assess([image])[0].label for restorer in restorers]
        row = counts.setdefault(pair.task, [0] * (len(restorers) + 1))
        for index, found in enumerate((pair.expected, *answers)):
            row[index] += found == pair.expected
        if len(set(answers)) > 1:
            print(f"{pair.task}/{pair.name}: {', '.join(answers)}", flush=True)
    print(f"| task | pictures | {' | '.join(arguments.bundle)} |\n|---|---|{'---|' * len(restorers)}")
    for task, row in [*counts.items(), ("all", [sum(column) for column in zip(*counts.values(), strict=True)])]:
        print(f"| {task} | {' | '.join(map(str, row))} |")


def draw(arguments: argparse.Namespace) -> None:
    """Draw gain against CPU seconds, one line for each start, and print the last row of each as a table.

    Splits of the same pairs are averaged.
    """
    rows = _averaged([row for row in _rows(arguments.rows) if "gain" in row])
    width, height, left, bottom = 640, 360, 56, 44
    seconds, gains = max(float(row["cpu_s"]) for row in rows), [float(row["gain"]) for row in rows]
    low, high = min(0.0, *gains), max(gains) * 1.05

    def at(row: dict[str, Any]) -> str:
        x = left + (width - left - 130) * row["cpu_s"] / seconds
        return f"{x:.1f},{height - bottom - (height - bottom - 34) * (row['gain'] - low) / (high - low):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" ',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for gain in range(math.ceil(low), math.floor(high) + 1):
        y = at({"cpu_s": 0, "gain": gain}).split(",")[1]
        parts.append(f'<path d="M{left} {y}H{width - 130}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y}" text-anchor="end">{gain}</text>')
    print("| pairs | start | steps | CPU seconds | gain |\n|---|---|---|---|---|")
    counts = sorted({row["pairs"] for row in rows})
    for number, (pairs, start) in enumerate(dict.fromkeys((row["pairs"], row["start"]) for row in rows)):
        own = [row for row in rows if (row["pairs"], row["start"]) == (pairs, start)]
        words = "nothing" if start == "fresh" else f"*{start}*"
        print(f"| {pairs} | {words} | {own[-1]['step']} | {own[-1]['cpu_s']:.0f} | {own[-1]['gain']:+.2f} dB |")
        dash = ' stroke-dasharray="5 4"' if start == "fresh" else ""
        color = COLORS[counts.index(pairs) % len(COLORS)]
        line = " ".join(at(row) for row in own)
        label = f"{pairs}, {'from nothing' if start == 'fresh' else 'pretrained'}"
        y = 30 + 18 * number
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        parts.append(f'<path d="M{width - 122} {y - 4}h18" stroke="{color}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{width - 100}" y="{y}">{label}</text>')
    parts.append(f'<text x="{left}" y="{height - 12}">0</text>')
    parts.append(f'<text x="{width - 130}" y="{height - 12}" text-anchor="end">{seconds:.0f} CPU seconds</text>')
    parts.append('<text x="8" y="14">dB on pairs that were not trained on</text></svg>')
    arguments.out.write_text("\n".join(parts) + "\n")


def _averaged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the mean of the rows with the same number of pairs, start and step."""
    alike: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for row in rows:
        alike.setdefault((row["pairs"], row["start"], row["step"]), []).append(row)
    return [
        {**group[0], **{key: sum(row[key] for row in group) / len(group) for key in ("cpu_s", "gain")}}
        for group in alike.values()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("make")
    one.add_argument("--images", type=Path, action="append", required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--damage", choices=sorted(DAMAGES), default="faded")
    one.set_defaults(run=make)
    two = commands.add_parser("curves")
    two.add_argument("--pairs", type=Path, required=True)
    two.add_argument("--out", type=Path, required=True)
    two.add_argument("--steps", type=int, default=100)
    two.add_argument("--every", type=int, default=25)
    two.add_argument("--start", default="light")
    two.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    two.set_defaults(run=curves)
    four = commands.add_parser("split")
    four.add_argument("folder", type=Path)
    four.add_argument("--out", type=Path, required=True)
    four.add_argument("--splits", type=int, default=3)
    four.set_defaults(run=split)
    five = commands.add_parser("labels")
    five.add_argument("folder", type=Path)
    five.add_argument("--bundle", action="append", required=True)
    five.set_defaults(run=labels)
    three = commands.add_parser("draw")
    three.add_argument("rows", type=Path)
    three.add_argument("--out", type=Path, required=True)
    three.set_defaults(run=draw)
    arguments = parser.parse_args()
    arguments.run(arguments)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
