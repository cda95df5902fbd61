"""The command `evidence`: finds the evidence of training pictures for the stage `assessor`, and stores it.

Run it several times at once, each with a seed of its own, and train the last layers on the files of all.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from models.device import choose_device
from models.errors import TrainingError
from models.training import stages
from models.training.autodir.assessor_stage import AssessorStage
from models.training.autodir.evidence_store import write_evidence
from models.training.data.dataset import Example

FILE_BATCHES = 40
"""Batches whose rows share a file; an interrupted command loses at most so many."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    stages.add_arguments(parser)
    parser.add_argument("--examples", type=int, default=10_000, help="pictures to look at; default: 10000")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write files of rows into OUT, and go on where an earlier run with this seed stopped; returns the exit code.

    Raises:
        TrainingError: an option or a file of an earlier stage is missing or wrong.
    """
    if arguments.evidence:
        raise TrainingError("got --evidence, which the stage assessor reads. This command writes it to --out.")
    if arguments.examples < 1:
        raise TrainingError(f"got --examples {arguments.examples}, expected at least 1")
    device = choose_device(arguments.device).device
    arguments.command = "assessor"
    stage, settings, _ = stages.build(arguments, device)
    if not isinstance(stage, AssessorStage) or not stage.config.replay:
        raise TrainingError("got --size published, whose image encoder is trained whole. Omit --size.")
    stage.network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch types it for tensors only
    arguments.out.mkdir(parents=True, exist_ok=True)
    per_file = FILE_BATCHES * settings.batch
    files = -(-arguments.examples // per_file)
    done = len(list(arguments.out.glob(f"{settings.seed}-*.safetensors")))
    examples = stage.examples(done * per_file)
    for index in track(range(done, files), description="files of evidence", console=console):
        rows = [stage.evidence_rows(_on(next(examples), device)).cpu() for _ in range(FILE_BATCHES)]
        write_evidence(_file(arguments.out, settings.seed, index), torch.cat(rows), stage.names)
    console.print(f"{files} files of {per_file} pictures in {arguments.out}", markup=False)
    return 0


def _file(folder: Path, seed: int, index: int) -> Path:
    return folder / f"{seed}-{index:05d}.safetensors"


def _on(batch: Example, device: torch.device) -> Example:
    return {key: value.to(device) for key, value in batch.items()}
