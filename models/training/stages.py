"""The stages of all families in one table, and the command that trains one of them.

Each family describes its stages in `recipes.py`: a function that builds the stage, and the stage's default settings.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
from rich.console import Console

from models.errors import TrainingError
from models.training.autodir import recipes as autodir_recipes
from models.training.core.processes import Place, connected, first_alone
from models.training.core.run_config import RunConfig
from models.training.core.sources import MIXED_SHARE, TrainingData
from models.training.core.stop_request import StopRequest
from models.training.core.trainer import Stage, Trainer
from models.training.daclip import recipes as daclip_recipes
from models.training.data.captions import read_captions
from models.training.data.own_pairs import load_own_pairs
from models.training.data.photos import PhotoPool, decode_into, find_photos
from models.training.data.share import Share

Recipe = Callable[[RunConfig, TrainingData, argparse.Namespace], tuple[Stage, object]]


@dataclass(frozen=True, kw_only=True)
class StageEntry:
    """`recipe` builds the stage and its configuration; `defaults` are fields of `RunConfig`."""

    summary: str
    recipe: Recipe
    defaults: dict[str, Any]


SUMMARIES = {
    "detail": "train the specialist for noise, JPEG and low resolution",
    "weather": "train the specialist for rain, snow and raindrops",
    "light": "train the specialist for haze and low light",
    "blur": "train the specialist for blur (not in the shipped bundle)",
    "glance": "train the small image encoder that the assessor starts with",
    "assessor": "train the AutoDIR assessor on the features of trained networks",
    "air": "train AIR, AutoDIR's text-conditioned denoiser",
    "scm": "train SCM, AutoDIR's structural-correction module",
    "daclip": "train the DA-CLIP controller on the ten published degradations",
    "daclip-wild": "train the DA-CLIP controller on the in-the-wild pipeline",
    "irsde": "train the IR-SDE U-Net under a trained DA-CLIP",
    "nafnet-daclip": "train the one-step NAFNet under a trained DA-CLIP",
    "etdiffir": "train the ETDiffIR U-Net under a trained DA-CLIP",
}
RECIPES: dict[str, Recipe] = {**autodir_recipes.RECIPES, **daclip_recipes.RECIPES}
DEFAULTS: dict[str, dict[str, Any]] = {**autodir_recipes.DEFAULTS, **daclip_recipes.DEFAULTS}
PUBLISHED_DEFAULTS: dict[str, dict[str, Any]] = {
    **autodir_recipes.PUBLISHED_DEFAULTS, **{stage: {} for stage in daclip_recipes.DEFAULTS},
}  # fmt: skip
"""What differs with `--size published`, for the stages of networks that were published."""
STAGES = {
    name: StageEntry(summary=summary, recipe=RECIPES[name], defaults=DEFAULTS[name])
    for name, summary in SUMMARIES.items()
}
"""By the names that users type, in the order of training."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--images", type=Path, action="append", default=[], help="folder of photos; repeatable")
    add("--pairs", type=Path, help="folder of your own pairs: TASK/lq/NAME damaged, TASK/gt/NAME undamaged")
    add("--name", help="degradation of the pairs; default: from the names of the tasks")
    add(
        "--pairs-share", type=float,
        help=f"share of examples from the pairs, the rest with synthetic damage from --images; default: {MIXED_SHARE}",
    )  # fmt: skip
    add("--no-check", dest="check", action="store_false", help="also train on pairs that seem shifted or mismatched")
    add("--out", type=Path, required=True, help="folder for weights, log and validation pictures")
    add("--minutes", type=float, help="training time; the learning rate decays over it")
    add("--steps", type=int, help="number of training steps instead of --minutes; makes a run reproducible")
    add("--batch", type=int, help="examples in a batch; with torchrun, the processes divide it")
    add("--crop", type=int, help="side of the training crops in pixels")
    add("--learning-rate", type=float, help="peak learning rate")
    add("--muon", type=float, help="learning rate of Muon for convolution kernels; AdamW trains the rest")
    add("--seed", type=int, default=0, help="random seed; default: 0")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1; with torchrun, each process takes a GPU of its own")
    add("--bf16", action=argparse.BooleanOptionalAction, help="use bfloat16 autocast; default: on CUDA only")
    add("--threads", type=int, help="CPU threads; default: all cores")
    add("--loaders", type=int, default=1, help="processes that make training pairs; default: 1")
    add("--validate-every", type=float, default=300.0, help="seconds between validations; default: 300")
    add("--resume", action="store_true", help="continue from OUT/last.pt")
    add("--start-from", type=Path, help="start with these weights (safetensors of the same network)")
    add("--size", choices=("small", "published"), default="small", help="sizes of the networks; default: small")
    add(
        "--base", type=Path,
        help="published networks to start from; daclip: CLIP with the names of open_clip, which stays frozen; "
        "assessor, air, scm: an AutoDIR bundle or checkpoint, Stable Diffusion 1.5, or CLIP",
    )  # fmt: skip
    add("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded photos; default: runs/cache")
    add("--text", type=Path, help="text encoder written by the stage text")
    autodir_recipes.add_arguments(parser)
    daclip_recipes.add_arguments(parser)


def _defaults_of_size(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.size == "small":
        return {}
    if arguments.command not in PUBLISHED_DEFAULTS:
        raise TrainingError(
            f"got --size published, but the network of {arguments.command} is our own. Omit --size. The stages of "
            f"published networks: {', '.join(PUBLISHED_DEFAULTS)}."
        )
    return PUBLISHED_DEFAULTS[arguments.command]


def run_config(arguments: argparse.Namespace, device: torch.device) -> RunConfig:
    """Returns the defaults of the stage, overridden by the command line."""
    run = RunConfig(
        images=tuple(arguments.images), out=arguments.out, seed=arguments.seed, device=device.type,
        bf16=arguments.bf16, threads=arguments.threads, loaders=arguments.loaders,
        validate_every_s=arguments.validate_every,
        **STAGES[arguments.command].defaults | _defaults_of_size(arguments),
    )  # fmt: skip
    weights = autodir_recipes.parse_mixture(arguments.mixture) if arguments.mixture else None
    overrides = {
        "minutes": arguments.minutes, "steps": arguments.steps, "batch": arguments.batch,
        "learning_rate": arguments.learning_rate, "muon": arguments.muon,
        "crop": replace(run.crop, crop_px=arguments.crop) if arguments.crop else None,
        "mixture": replace(run.mixture, weights=weights) if weights else None,
    }  # fmt: skip
    return replace(run, **{key: value for key, value in overrides.items() if value is not None})


def build(arguments: argparse.Namespace, device: torch.device) -> tuple[Stage, RunConfig, object]:
    """Returns the stage, the settings of the run, and the configuration of the stage.

    Raises:
        TrainingError: there are too few photos, or an option or a file of an earlier stage is missing or wrong.
    """
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(0)  # before the loaders fork: a forked OpenCV thread pool deadlocks
    run = run_config(arguments, device)
    data = training_data(run, arguments)
    torch.manual_seed(run.seed)
    stage, config = STAGES[arguments.command].recipe(run, data, arguments)
    return stage, run, config


def training_data(run: RunConfig, arguments: argparse.Namespace) -> TrainingData:
    """Returns the photos and the own pairs of the command line.

    Raises:
        TrainingError: there are too few of them, or a pair cannot be used.
    """
    if not arguments.images and not arguments.rows and not arguments.pairs:
        raise TrainingError(
            "got no --images and no --pairs. Give a folder of photos or pairs; the DA-CLIP stages also take --rows."
        )
    if arguments.name and not arguments.pairs:
        raise TrainingError("got --name without --pairs. It names the degradation of your own pairs.")
    files = decode_into(arguments.cache, find_photos(arguments.images), run.longest_px)
    if arguments.images and len(files) < 2 and not arguments.rows:
        raise TrainingError(f"got {len(files)} readable photos, expected at least 2: one is held out for validation")
    photos = (PhotoPool(files, validation=False), PhotoPool(files, validation=True)) if files else None
    pairs = None
    if arguments.pairs:
        captions = read_captions(arguments.captions) if arguments.captions else None
        pairs = load_own_pairs(
            arguments.pairs, arguments.cache, name=arguments.name, captions=captions, check=arguments.check
        )
    share = MIXED_SHARE if arguments.pairs_share is None else arguments.pairs_share
    if not 0 < share <= 1:
        raise TrainingError(f"got --pairs-share {share}, expected more than 0 and at most 1")
    return TrainingData(photos=photos, pairs=pairs, share=share)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Train one stage; returns the exit code.

    Raises:
        ModelsError: an option, a file or a folder cannot be used.
    """
    place = Place.of()
    device, share = place.device(arguments.device), place.share
    stop = StopRequest(deferred=True)
    told = console if share.first else Console(quiet=True)
    try:
        with connected(place, device):
            with first_alone(share):
                trainer = _trainer(arguments, device, share, stop)
            with stop.listening():
                best = trainer.train(told)
    except KeyboardInterrupt:
        told.print(f"interrupted; continue with: --resume --out {arguments.out}", markup=False)
        return stop.exit_code
    told.print(f"best score {best.score:.3f}: {arguments.out / 'best.safetensors'}", markup=False)
    return 0


def _trainer(arguments: argparse.Namespace, device: torch.device, share: Share, stop: StopRequest) -> Trainer:
    stage, run, config = build(arguments, device)
    trainer = Trainer(stage, run, device, config, share=share, stop=stop)
    if arguments.resume:
        trainer.resume()
    elif arguments.start_from:
        trainer.start_from(arguments.start_from)
    return trainer
