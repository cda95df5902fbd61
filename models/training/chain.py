"""`python -m models.training chain BUNDLE --images DIR`: every stage of a small bundle, one after the other.

Budgets are in steps and seeds are fixed, so the same photos give the same weights on the same machine.  The same
command continues an interrupted chain: it skips finished stages and resumes the current one from its last validation.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

TRAINING = (sys.executable, "-m", "models.training")


@dataclass(frozen=True, kw_only=True)
class StageCommand:
    """The command of one stage.

    Attributes:
        words: the command and its options; {runs} stands for the folder of the chain.
        steps: the training steps; None for a command that does not train.
        photos: whether it takes --images.
        resumes: whether it keeps last.pt in {runs}/{name} and takes --resume.
        hours: estimated hours of one core, from runs beside other work.
    """

    name: str
    words: tuple[str, ...]
    steps: int | None = None
    photos: bool = True
    resumes: bool = True
    hours: float = 0.0

    def command(self, runs: Path, images: Sequence[Path], share: float, seed: int, extra: Sequence[str]) -> list[str]:
        """Returns the command line; `share` scales the steps, `extra` goes to the stages that resume."""
        words = [*TRAINING, *(word.format(runs=runs) for word in self.words)]
        if self.photos:
            words += [word for folder in images for word in ("--images", str(folder))]
        if self.steps is not None:
            words += ["--steps", str(max(1, round(self.steps * share))), "--seed", str(seed)]
        if self.resumes:
            words += ["--out", str(runs / self.name), *extra]
            words += ["--resume"] if (runs / self.name / "last.pt").exists() else []
        return words


def _text(family: str) -> StageCommand:
    return StageCommand(
        name="text", words=("text", "--family", family, "--out", "{runs}/text.safetensors"), steps=1200, photos=False,
        resumes=False, hours=0.1,
    )  # fmt: skip


TEXT = ("--text", "{runs}/text.safetensors")


def _specialists(*names: str) -> tuple[str, ...]:
    """Returns the options of a stage that takes trained specialists."""
    return tuple(word for name in names for word in ("--specialist", f"{name}={{runs}}/{name}/best.safetensors"))


CHAINS: dict[str, tuple[StageCommand, ...]] = {
    "autodir-small": (
        _text("autodir"),
        StageCommand(name="air", words=("air", *TEXT), steps=16_000, hours=1.5),
        StageCommand(
            name="scm", words=("scm", *TEXT, "--air", "{runs}/air/best.safetensors"), steps=10_000, hours=4.0
        ),
        StageCommand(name="detail", words=("detail",), steps=8_000, hours=2.3),
        StageCommand(name="weather", words=("weather", *_specialists("detail")), steps=8_000, hours=2.4),
        StageCommand(name="light", words=("light",), steps=8_000, hours=1.4),
        StageCommand(name="glance", words=("glance", *TEXT), steps=12_000, hours=2.2),
        StageCommand(
            name="assessor", steps=2_000, hours=0.8,
            words=(
                "assessor", *TEXT, "--glance", "{runs}/glance/best.safetensors",
                *_specialists("detail", "weather", "light"),
            ),
        ),
        StageCommand(
            name="autodir-small", resumes=False, hours=0.1,
            words=(
                "package-autodir",
                "--assessor", "{runs}/assessor/best.safetensors", "--air", "{runs}/air/best.safetensors",
                "--scm", "{runs}/scm/best.safetensors", "--detail", "{runs}/detail/best.safetensors",
                "--weather", "{runs}/weather/best.safetensors", "--light", "{runs}/light/best.safetensors",
                "--out", "{runs}/autodir-small",
            ),
        ),
    ),
    "daclip-small": (
        _text("daclip"),
        StageCommand(
            name="daclip", steps=6000, hours=1.0,
            words=("daclip", *TEXT, "--content-share", "0.2", "--learning-rate", "7e-4"),
        ),
        StageCommand(
            name="nafnet-daclip", steps=12_000, hours=2.5,
            words=(
                "nafnet-daclip", *TEXT, "--daclip", "{runs}/daclip/best.safetensors", "--word-share", "1",
                "--batch", "16",
            ),
        ),
        StageCommand(
            name="daclip-small", resumes=False, photos=False,
            words=(
                "package-daclip", "--daclip", "{runs}/daclip/best.safetensors",
                "--nafnet", "{runs}/nafnet-daclip/best.safetensors", "--out", "{runs}/daclip-small",
            ),
        ),
    ),
}  # fmt: skip
"""The stages of each bundle, in order."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", choices=sorted(CHAINS))
    add("--images", type=Path, action="append", required=True, help="folder of photos; repeatable")
    add("--out", type=Path, help="folder for all results; default: runs/BUNDLE")
    add("--share", type=float, default=1.0, help="share of the steps of every stage; 0.001 is a trial; default: 1")
    add("--seed", type=int, default=0, help="random seed; default: 0")
    add("--bf16", action=argparse.BooleanOptionalAction, help="use bfloat16 autocast; default: on CUDA only")
    add("--threads", type=int, help="CPU threads; default: all cores")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the stages that are not finished; returns the exit code of the first one that fails, else 0."""
    stages, runs = CHAINS[arguments.bundle], arguments.out or Path("runs") / arguments.bundle
    runs.mkdir(parents=True, exist_ok=True)
    extra = [] if arguments.bf16 is None else ["--bf16" if arguments.bf16 else "--no-bf16"]
    extra += [] if arguments.threads is None else ["--threads", str(arguments.threads)]
    hours = sum(stage.hours for stage in stages) * arguments.share
    console.print(f"{arguments.bundle}: about {hours:.1f} hours of one core", markup=False)
    for number, stage in enumerate(stages, start=1):
        finished = runs / f"{stage.name}.finished"
        if finished.exists():
            console.print(f"{number}/{len(stages)} {stage.name}: already finished", markup=False)
            continue
        words = stage.command(runs, arguments.images, arguments.share, arguments.seed, extra)
        console.print(f"{number}/{len(stages)} {stage.name}: {' '.join(words[1:])}", markup=False)
        code = _run(words)
        if code:
            console.print(
                f"{stage.name} failed with exit code {code}; run the same command to continue from here", markup=False
            )
            return code
        finished.touch()
    bundle = runs / arguments.bundle
    console.print(f"wrote {bundle}; try it: undegrade restore PHOTO --bundle {bundle}", markup=False)
    return 0


def _run(words: Sequence[str]) -> int:
    """Returns the exit code; 130 where Ctrl-C interrupts both processes."""
    try:
        return subprocess.run(words, check=False).returncode
    except KeyboardInterrupt:
        return 130
