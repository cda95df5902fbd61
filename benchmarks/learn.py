"""Learning a degradation from few pairs: PSNR on held-out pairs against steps, pretrained against from nothing.

`make` writes pairs with synthetic banding, the stripes of a bad sensor, which no bundle knows.  `curves` trains a
specialist for each number of pairs and each start, as `undegrade learn` does, and appends a row per measurement.
`draw` writes the figure and the table.

    python benchmarks/learn.py make --images photos/ --out runs/banding
    python benchmarks/learn.py curves --pairs runs/banding --out runs/learn.jsonl --steps 240
    python benchmarks/learn.py draw runs/learn.jsonl --out docs/figures/learn.svg

`undegrade learn runs/banding/30 --test runs/banding/test --name banding --out runs/learned` then does the whole.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle
from models.families import load_restorer
from models.psnr import mean_psnr
from models.training.core.sources import TrainingData, own_batch
from models.training.core.trainer import Trainer, TrainingState
from models.training.data.own_pairs import OwnPairs, load_own_pairs
from models.training.data.photos import find_photos
from models.training.learn.plan import LearnPlan
from models.training.learn.specialist import CLEAN_SHARE, _run, _stage

COUNTS = (10, 30, 90)
NAME = "banding"
TEST_PAIRS = 12
SIDE_PX = 288
CROP_PX, BATCH = 96, 4
EVERY = 20
COLORS = {10: "#c2570c", 30: "#0f766e", 90: "#1d4ed8"}


def banded(clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Adds stripes along one axis: an offset for each row, correlated over a few rows and channels."""
    rows = clean.shape[0]
    width = rng.uniform(0.6, 3.0)
    offsets = cv2.GaussianBlur(rng.normal(size=(rows, 4)), (1, 0), sigmaX=1e-3, sigmaY=width)
    offsets /= offsets.std(axis=0)
    mixed = offsets[:, :1] + 0.35 * offsets[:, 1:]  # (H, 3)
    return np.clip(clean + rng.uniform(8, 24) / 255 * mixed[:, None, :], 0, 1).astype(np.float32)


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
        damaged = banded(clean, rng)
        if rng.random() < 0.5:
            damaged = banded(clean.transpose(1, 0, 2), rng).transpose(1, 0, 2)
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
    test = load_own_pairs(arguments.pairs / "test", cache, name=NAME)
    batch = own_batch((*test.train, *test.held_out), (NAME, "clean"), 192, TEST_PAIRS)
    done = _done(arguments.out)
    for count in arguments.counts:
        found = load_own_pairs(arguments.pairs / str(count), cache, name=NAME)
        pairs = OwnPairs(train=(*found.train, *found.held_out), held_out=found.held_out[:1])
        for start in (arguments.start, "fresh"):
            if (count, start) not in done:
                _curve(arguments, restorer, pairs, batch, count, start)


def _curve(arguments, restorer, pairs, batch, count, start) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
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
        if state.step % EVERY and state.step != 1:
            return
        now = time.process_time()
        live = {name: value.clone() for name, value in trainer.network.state_dict().items()}
        trainer.network.load_state_dict(trainer.average)
        with torch.no_grad():
            restored = torch.cat([trainer.network(picture[None]) for picture in batch["degraded"]])
        trainer.network.load_state_dict(live)
        gain = mean_psnr(restored, batch["target"]) - mean_psnr(batch["degraded"], batch["target"])
        row = {
            "pairs": count,
            "start": start,
            "step": state.step,
            "cpu_s": round(now - began - spent, 1),
            "gain": round(gain, 3),
        }
        with arguments.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)
        spent += time.process_time() - now

    trainer.train(Console(quiet=True), on_step=record)
    with arguments.out.open("a") as file:
        file.write(json.dumps({"pairs": count, "start": start, "finished": True}) + "\n")


def _rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _done(path: Path) -> set[tuple[object, object]]:
    return {(row["pairs"], row["start"]) for row in _rows(path) if row.get("finished")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("make")
    one.add_argument("--images", type=Path, action="append", required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=make)
    two = commands.add_parser("curves")
    two.add_argument("--pairs", type=Path, required=True)
    two.add_argument("--out", type=Path, required=True)
    two.add_argument("--steps", type=int, default=240)
    two.add_argument("--start", default="weather")
    two.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    two.set_defaults(run=curves)
    arguments = parser.parse_args()
    arguments.run(arguments)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
