"""Runs `undegrade learn` from the pairs to the new bundle; an interrupted run continues from the last finished part."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console

from models.autodir.restorer import AutoDIR
from models.bundle import Manifest
from models.families import load_restorer
from models.training.core.run_config import RunConfig
from models.training.data.own_pairs import OwnPair
from models.training.data.photos import PhotoPool, decode_into, find_photos
from models.training.learn.assessor import teach_assessor
from models.training.learn.card import LearnReport, StrictReport, write_card
from models.training.learn.evidence import encoder_of
from models.training.learn.measurement import measure, measure_strict
from models.training.learn.packing import CPU, calibrated, degradation_of, write_learned
from models.training.learn.plan import LearnPlan, SplitPairs, check_plan, open_work, split_pairs
from models.training.learn.specialist import train_specialist
from models.training.learn.system import TrainedSystem, train_system

Say = Callable[[str], None]
EVERY = 1
MIN_PHOTO_PX = 64


def learn(plan: LearnPlan, device: torch.device, console: Console, say: Say) -> LearnReport:
    """Teach a bundle a new degradation, and write the new bundle to `plan.out`.

    Args:
        console: shows the progress of training.
        say: prints one line of progress.

    Raises:
        ControlsError: an option cannot be used.
        TrainingError, BundleError: the pairs or the bundle cannot be used.
    """
    started_s, started_cpu_s = time.monotonic(), _cpu_s()
    manifest = check_plan(plan)
    cv2.setNumThreads(0)
    restorer = _loaded(plan.bundle)
    encoder_of(restorer.assessor)
    pairs = split_pairs(plan)
    if open_work(plan):
        say(f"continuing the run in {plan.work}")
    say(
        f"{len(pairs.fit.train)} pairs to train on, {len(pairs.fit.held_out)} to choose and calibrate, "
        f"{len(pairs.test.held_out)} to measure on"
    )
    pools = undamaged_pools(plan, pairs.fit.train, pairs.fit.held_out)
    before = measure(restorer, pairs.test.held_out, plan.name)
    assessor, learned = teach_assessor(
        restorer.assessor, plan.name, pools, pairs.fit.train, pairs.fit.held_out, plan.work, plan.seed, say
    )
    trained = train_specialist(plan, pairs, restorer, device, console, say)
    system = None
    if plan.strict_system:
        system = train_system(plan, pairs, assessor, restorer, device, console, say)
    partial = plan.work / plan.out.name
    shutil.rmtree(partial, ignore_errors=True)
    written = write_learned(plan, manifest, partial, assessor, trained, pairs.count, system)
    say("calibrating")
    written = calibrated(partial, written, plan.name, pairs.fit.held_out, pools[1])
    say("measuring on the test pairs")
    after = measure(_loaded(partial), pairs.test.held_out, plan.name)
    strict = None if system is None else _strict_report(plan, partial, pairs, pools[1], system)
    own = degradation_of(written, plan.name)
    report = LearnReport(
        name=plan.name, bundle=manifest.name, out=str(plan.out), trained_pairs=len(pairs.fit.train),
        chosen_pairs=len(pairs.fit.held_out), start=trained.start, steps=trained.steps, strength=own.strength,
        floor=own.floor, assessor=learned, before=before, after=after,
        seconds=round(time.monotonic() - started_s, 1), cpu_seconds=round(_cpu_s() - started_cpu_s, 1),
        strict=strict,
    )  # fmt: skip
    _finish(plan, partial, written, report)
    return report


def _strict_report(
    plan: LearnPlan, learned: Path, pairs: SplitPairs, photos: PhotoPool, system: TrainedSystem
) -> StrictReport:
    """Measure the published loop of both bundles."""
    bundles = _loaded(plan.bundle), _loaded(learned)
    kinds = bundles[0].names
    before, after = (measure_strict(one, pairs.test.held_out, plan.name, photos, kinds) for one in bundles)
    return StrictReport(before=before, after=after, air_steps=system.air_steps, scm_steps=system.scm_steps)


def undamaged_pools(
    plan: LearnPlan, train: Sequence[OwnPair], held_out: Sequence[OwnPair]
) -> tuple[PhotoPool, PhotoPool]:
    """Returns pools of undamaged photos, those of the pairs and those of --images: to learn from, and held out."""
    images = decode_into(plan.work / "photos", find_photos(plan.images), RunConfig(images=(), out=plan.work).longest_px)
    chosen = images[::20] if len(images) > 1 else []
    parts = ((train, [file for file in images if file not in chosen]), (held_out, chosen))
    first, second = ([*_undamaged(plan, pairs), *files] for pairs, files in parts)
    return tuple(PhotoPool(files, validation=True, hold_out=EVERY) for files in (first, second or first))  # type: ignore[return-value]


def _undamaged(plan: LearnPlan, pairs: Sequence[OwnPair]) -> list[Path]:
    """Returns the undamaged photos of the pairs as files of a pool; smaller ones are reflected to MIN_PHOTO_PX."""
    folder, files = plan.work / "photos", []
    folder.mkdir(parents=True, exist_ok=True)
    for pair in pairs:
        target = folder / f"truth-{pair.file.name}"
        if not target.exists():
            pixels = np.asarray(pair.pixels()[..., 3:])
            missing = [(0, max(0, MIN_PHOTO_PX - side)) for side in pixels.shape[:2]]
            np.save(target, np.ascontiguousarray(np.pad(pixels, [*missing, (0, 0)], mode="reflect")))
        files.append(target)
    return files


def _loaded(bundle: Path) -> AutoDIR:
    restorer = load_restorer(bundle, CPU)
    assert isinstance(restorer, AutoDIR), "check_plan refuses other families"
    return restorer


def _finish(plan: LearnPlan, partial: Path, manifest: Manifest, report: LearnReport) -> None:
    """Add the card, move the bundle to its place, and delete what is no longer needed."""
    write_card(report, partial)
    log = plan.work / "specialist" / "log.jsonl"
    if log.exists():
        shutil.copy(log, partial / "learning.jsonl")
    partial.rename(plan.out)
    shutil.rmtree(plan.work)


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
