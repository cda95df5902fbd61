"""The stage `text`: train the small text encoder of a family.

It needs no photos.  The other stages keep its weights frozen.
"""

import argparse
import time
from pathlib import Path

import torch
from rich.console import Console

from models.autodir.assessor import prompt_of
from models.networks.clip import ClipConfig, build_clip
from models.training.autodir import autodir_small
from models.training.core.text_encoder import load_text_encoder, text_parameters, train_text_encoder
from models.training.core.trainer import save_weights
from models.training.daclip import daclip_small


def class_prompts(family: str) -> tuple[ClipConfig, dict[str, str]]:
    """Returns the CLIP of a small bundle, and the class prompt of each degradation by name."""
    if family == "autodir":
        return autodir_small.CLIP, {name: prompt_of(name) for name in autodir_small.NAMES}
    return daclip_small.CONTROLLER.clip, daclip_small.WORDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, help="safetensors file to write")
    add("--steps", type=int, default=500, help="number of training steps; default: 500")
    add("--seed", type=int, default=0, help="random seed; default: 0")
    add("--start-from", type=Path, help="trained text encoder whose class prompts keep their embeddings")
    add(
        "--family", choices=("autodir", "daclip"), default="autodir",
        help="class prompts: AutoDIR's sentences, or the ten words of DA-CLIP; default: autodir",
    )  # fmt: skip


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Train and write the text encoder; returns the exit code.

    Raises:
        TrainingError: --start-from does not fit.
    """
    started_s = time.monotonic()
    torch.manual_seed(arguments.seed)
    config, classes = class_prompts(arguments.family)
    clip = build_clip(config)
    if arguments.start_from is not None:
        load_text_encoder(clip, arguments.start_from)

    def report(step: int, loss: float) -> None:
        if step % 50 == 0:
            console.print(f"step {step} loss {loss:.3f} {time.monotonic() - started_s:.0f} s")

    result = train_text_encoder(
        clip, classes, seed=arguments.seed, steps=arguments.steps, device=torch.device("cpu"), report=report,
        keep=arguments.start_from is not None,
    )  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(text_parameters(clip), arguments.out)
    console.print(f"held-out phrasings classified correctly: {result.accuracy:.1%} {result.by_name}")
    console.print("\n".join(result.errors), markup=False)
    return 0
