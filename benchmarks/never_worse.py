"""Measure whether a bundle ever makes a picture worse: clean photographs must stay, damaged ones must not lose.

Clean: photographs held out from training, as crops of many sizes and places, shrunk or with their own grain, in the
four turns.  Targets: 99 % come back bit-identical, none below 42 dB.  The ground truths of the test pairs are reported
beside them.  Damaged: the test pairs in the four turns, and held-out photographs with every kind of synthetic damage
and mixtures of two.  Target: at most 1 % come back worse than the input by more than 0.3 dB.  All in automatic mode.

Each result is on disk before the next picture starts: a stopped run continues with the same command.  The exit code is
0 if all targets are met, 1 if not or if a picture failed, 130 after Ctrl-C, which writes the report of what is there.

Examples:
    python benchmarks/never_worse.py --images ../shared/train --images /tmp/photos --out runs/never-worse
    python benchmarks/never_worse.py --images ../shared/train --images /tmp/photos --show clean/12 --out runs/look
"""

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conditions import EVAL_SET, header, make_parser
from never_worse_examples import Example, Sides, clean_examples, damaged_examples, draw, held_out_photos
from never_worse_report import Outcome, markdown, summarize
from PIL import Image

from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.drive import restore_one
from models.errors import ModelsError
from models.evaluation.measurements import fingerprint
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.presets import PRESETS, PresetName, preset_values
from models.psnr import psnr
from models.restorer import Request, Restorer

ROWS, RUN, REPORT = "rows.jsonl", "run.json", "report"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a result depends on; pictures of different runs never share a folder."""

    bundle: str
    fingerprint: str
    seed: int
    smallest_px: int
    largest_px: int
    clean: int
    damaged: int
    images: tuple[str, ...]
    pairs: str
    preset: PresetName = "auto"

    @property
    def sides(self) -> Sides:
        return Sides(smallest_px=self.smallest_px, largest_px=self.largest_px)


@cache
def _restorer(bundle: str) -> Restorer:
    torch.set_num_threads(1)
    return load_restorer(find_bundle(bundle), torch.device("cpu"))


def measure(example: Example, run: Run, folder: Path | None = None) -> Outcome:
    """Restore one example; with a folder, also write its pictures there."""
    started_s = time.monotonic()
    try:
        drawn = draw(example, run.sides, run.seed)
        values = preset_values(run.preset, ())
        controls = Controls(preset=run.preset, **values)  # type: ignore[arg-type]
        request = Request(image=to_tensor(drawn.degraded), controls=controls)
        restored = restore_one(_restorer(run.bundle), request)
    except (ModelsError, OSError, RuntimeError, ValueError) as error:  # one picture must not end the run
        return Outcome(key=example.key, part=example.part, group=example.group, place=str(example.source),
                       error=f"{type(error).__name__}: {error}")  # fmt: skip
    result = to_pixels(restored.image).astype(np.uint8, copy=False)
    if folder is not None:
        stem = example.key.replace("/", "-")
        for name, picture in (("input", drawn.degraded), ("result", result), ("truth", drawn.truth)):
            Image.fromarray(picture).save(folder / f"{stem}-{name}.png")
    found = restored.report.degradations
    label = max(found, key=lambda name: found[name], default="")
    return Outcome(
        key=example.key,
        part=example.part,
        group=example.group,
        place=drawn.place,
        input_db=_finite(psnr(drawn.degraded, drawn.truth)),
        result_db=_finite(psnr(result, drawn.truth)),
        identical=bool(np.array_equal(drawn.degraded, result)),
        label=label,
        probability=found.get(label, 0.0),
        repaired=tuple(restored.report.labels),
        stop_reason=restored.report.stop_reason,
        seconds=time.monotonic() - started_s,
    )


def _finite(db: float) -> float | None:
    return db if math.isfinite(db) else None


def read_rows(folder: Path, run: Run) -> dict[str, Outcome]:
    """Returns the earlier results of this run, by key; failed pictures are tried again.

    Raises:
        SystemExit: the folder contains those of another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    conditions = json.loads(json.dumps(asdict(run)))
    if (folder / RUN).exists() and (folder / ROWS).exists():
        earlier = json.loads((folder / RUN).read_text())
        # the fingerprint says which bundle it was, wherever it lies
        differing = [name for name in conditions if name != "bundle" and earlier.get(name) != conditions[name]]
        if differing:
            raise SystemExit(f"{folder} has results of another run ({', '.join(differing)} differ); use another --out")
    else:
        (folder / ROWS).unlink(missing_ok=True)
    (folder / RUN).write_text(json.dumps(conditions, indent=1) + "\n")
    text = (folder / ROWS).read_text() if (folder / ROWS).exists() else ""
    complete = text[: text.rfind("\n") + 1]  # the last line may have been cut when the run was stopped
    if complete != text:
        (folder / ROWS).write_text(complete)
    rows = [Outcome.from_json(line) for line in complete.splitlines()]
    return {row.key: row for row in rows if row.error is None}


def outcomes(examples: Sequence[Example], run: Run, workers: int) -> Iterator[Outcome]:
    """Yields the results, in this process or in several, in the order in which they are ready."""
    if workers == 1:
        yield from (measure(example, run) for example in examples)
        return
    # spawn: torch must not be forked after it has started threads
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(measure, example, run) for example in examples]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_all(examples: Sequence[Example], run: Run, folder: Path, workers: int) -> list[Outcome]:
    """Measure what is missing, write each result and a line of progress; returns all results in order."""
    done = read_rows(folder, run)
    missing = [example for example in examples if example.key not in done]
    # in random order, so that a run that is stopped early has some of every group
    missing = [missing[index] for index in np.random.default_rng(run.seed).permutation(len(missing))]
    started_s = time.monotonic()
    with (folder / ROWS).open("a") as file:
        for count, row in enumerate(outcomes(missing, run, workers), 1):
            file.write(row.to_json() + "\n")
            file.flush()
            done[row.key] = row
            left_min = (time.monotonic() - started_s) / count * (len(missing) - count) / 60
            progress = f"{len(examples) - len(missing) + count}/{len(examples)}, {left_min:.0f} min left"
            print(f"{progress}: {row.line()}", file=sys.stderr, flush=True)
    return [done[example.key] for example in examples if example.key in done]


def whole(text: str) -> int:
    """Returns a number of pictures, workers or pixels."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"got {text}, expected 0 or more")
    return number


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--images", type=Path, action="append", required=True, help="the training's --images, in its order; repeatable")
    add("--pairs", type=Path, default=EVAL_SET, help="folder of test pairs; one that does not exist: none")
    add("--bundle", default="autodir-small", help="name or folder of a bundle")
    add("--preset", choices=PRESETS, default="auto", help="of the restorations (auto)")
    add("--clean", type=whole, default=1000, metavar="N", help="number of clean photographs (1000)")
    add("--damaged", type=whole, default=1000, metavar="N", help="number of damaged pictures (1000)")
    add("--seed", type=whole, default=0, help="seed of crops and damage (0)")
    add("--sides", type=whole, nargs=2, default=(256, 384), metavar="PX", help="limits of a crop's sides (256 384)")
    add("--workers", type=whole, default=1, help="processes with one thread each (1)")
    add("--out", type=Path, default=Path("runs/never-worse"), help="folder for rows and reports (runs/never-worse)")
    add("--table", type=Path, help="also write the Markdown report to this file")
    add("--show", metavar="KEY", action="append", help="only restore this picture, and write it to --out; repeatable")
    arguments = parser.parse_args(words)
    if arguments.workers < 1:
        parser.error("--workers: got 0, expected at least 1")
    if not 64 <= arguments.sides[0] <= arguments.sides[1]:
        parser.error(f"--sides: got {arguments.sides[0]} {arguments.sides[1]}, expected 64 or more, the smaller first")
    return arguments


def main(words: Sequence[str] | None = None) -> int:
    arguments = parse(words)
    try:
        bundle = find_bundle(arguments.bundle)
        manifest = read_manifest(bundle)
        photos = held_out_photos(arguments.images)
        pairs = arguments.pairs if arguments.pairs.is_dir() else None
        examples = clean_examples(photos, pairs, arguments.clean, arguments.seed)
        examples += damaged_examples(photos, pairs, arguments.damaged, arguments.seed)
    except ModelsError as error:
        raise SystemExit(str(error)) from error
    run = Run(
        bundle=str(bundle), fingerprint=fingerprint(manifest), seed=arguments.seed,
        smallest_px=arguments.sides[0], largest_px=arguments.sides[1],
        clean=arguments.clean, damaged=arguments.damaged,
        images=tuple(str(folder.resolve()) for folder in arguments.images), pairs=str(pairs and pairs.resolve()),
        preset=arguments.preset,
    )  # fmt: skip
    if arguments.show:
        return show(examples, run, arguments)
    print(f"{len(photos)} held-out photographs, {len(examples)} pictures", file=sys.stderr)
    interrupted = False
    try:
        rows = run_all(examples, run, arguments.out, arguments.workers)
    except KeyboardInterrupt:
        rows, interrupted = list(read_rows(arguments.out, run).values()), True
    bundle_facts = f"{manifest.name} {manifest.version} · preset {run.preset}"
    facts = f"{bundle_facts} · {len(photos)} held-out photographs · seed {run.seed}"
    counts = f"{len(rows)} of {len(examples)} pictures"
    code = report(rows, header(facts, f"sides {run.smallest_px} to {run.largest_px} px", counts), arguments)
    if interrupted:
        print(f"interrupted after {counts}. Run the same command to continue.", file=sys.stderr)
    return 130 if interrupted else code


def show(examples: Sequence[Example], run: Run, arguments: argparse.Namespace) -> int:
    """Restore the named pictures, and write input, result and truth."""
    known = {example.key: example for example in examples}
    unknown = [key for key in arguments.show if key not in known]
    if unknown:
        raise SystemExit(f"got --show {unknown[0]}, expected a name as in the report, for example {examples[0].key}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for key in arguments.show:
        print(measure(known[key], run, arguments.out).line())
    return 0


def report(rows: Sequence[Outcome], head: str, arguments: argparse.Namespace) -> int:
    """Write and print the report; returns the exit code."""
    summary = summarize(rows)
    options = (f"--images {folder}" for folder in arguments.images)
    again = (
        f"python benchmarks/never_worse.py {' '.join(options)} --bundle {arguments.bundle} --preset {arguments.preset} "
        f"--clean {arguments.clean} "
        f"--damaged {arguments.damaged} --seed {arguments.seed} --sides {arguments.sides[0]} {arguments.sides[1]}"
    )
    text = markdown(summary, rows, head, again)
    figures: dict[str, Any] = {"head": head, **asdict(summary), "rows": [asdict(row) for row in rows]}
    (arguments.out / f"{REPORT}.json").write_text(json.dumps(figures, indent=1) + "\n")
    for path in filter(None, (arguments.out / f"{REPORT}.md", arguments.table)):
        path.write_text(text)
    print(text)
    return 0 if summary.met else 1


if __name__ == "__main__":
    raise SystemExit(main())
