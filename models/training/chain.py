"""`python -m models.training.chain autodir-small --images DIR`: every stage of a small bundle, one after the other.

Budgets are in steps and seeds are fixed, so the same photos give the same weights on the same machine.  A chain that
is stopped goes on where it was: stages that have ended are passed over, the one under way resumes from its last
validation.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

PYTHON = (sys.executable, "-m")


@dataclass(frozen=True, kw_only=True)
class Link:
    """One stage.  Of its words, {runs} is the chain's folder; `steps` is its budget, None for what has none."""

    name: str
    module: str
    words: tuple[str, ...] = ()
    steps: int | None = None
    photos: bool = True
    resumes: bool = True  # it keeps last.pt in {runs}/{name} and takes --resume
    hours: float = 0.0  # of one core, estimated from runs beside other work: for who plans

    def command(self, runs: Path, images: Sequence[Path], share: float, seed: int, extra: Sequence[str]) -> list[str]:
        """What is run."""
        words = [*PYTHON, self.module, *(word.format(runs=runs) for word in self.words)]
        if self.photos:
            words += [word for folder in images for word in ("--images", str(folder))]
        if self.steps is not None:
            words += ["--steps", str(max(1, round(self.steps * share))), "--seed", str(seed)]
        if self.resumes:
            words += ["--out", str(runs / self.name), *extra]
            words += ["--resume"] if (runs / self.name / "last.pt").exists() else []
        return words


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A bundle's stages in their order."""

    links: tuple[Link, ...] = field(default=())

    @property
    def hours(self) -> float:
        return sum(link.hours for link in self.links)


def text(classes: str) -> Link:
    return Link(
        name="text", module="models.training.core.text", steps=1200, photos=False, resumes=False, hours=0.1,
        words=("--classes", classes, "--out", "{runs}/text.safetensors"),
    )  # fmt: skip


TEXT = ("--text", "{runs}/text.safetensors")


def specialists(*keys: str) -> tuple[str, ...]:
    """The words for stages that take trained specialists."""
    return tuple(word for key in keys for word in ("--specialist", f"{key}={{runs}}/{key}/best.safetensors"))


CHAINS = {
    "autodir-small": Chain(
        links=(
            text("autodir"),
            Link(name="air", module="models.training", words=("air", *TEXT), steps=16_000, hours=1.5),
            Link(
                name="scm", module="models.training", steps=10_000, hours=4.0,
                words=("scm", *TEXT, "--air", "{runs}/air/best.safetensors"),
            ),
            Link(name="detail", module="models.training", words=("detail",), steps=8_000, hours=2.3),
            Link(
                name="weather", module="models.training", steps=8_000, hours=2.4,
                words=("weather", *specialists("detail")),
            ),
            Link(name="light", module="models.training", words=("light",), steps=8_000, hours=1.4),
            Link(name="glance", module="models.training", words=("glance", *TEXT), steps=12_000, hours=2.2),
            Link(
                name="assessor", module="models.training", steps=2_000, hours=0.8,
                words=(
                    "assessor", *TEXT, "--glance", "{runs}/glance/best.safetensors",
                    *specialists("detail", "weather", "light"),
                ),
            ),
            Link(
                name="autodir-small", module="models.training.autodir.package", resumes=False, hours=0.1,
                words=(
                    "--assessor", "{runs}/assessor/best.safetensors", "--air", "{runs}/air/best.safetensors",
                    "--scm", "{runs}/scm/best.safetensors", "--detail", "{runs}/detail/best.safetensors",
                    "--weather", "{runs}/weather/best.safetensors", "--light", "{runs}/light/best.safetensors",
                    "--out", "{runs}/autodir-small",
                ),
            ),
        )
    ),
    "daclip-small": Chain(
        links=(
            text("daclip"),
            Link(
                name="daclip", module="models.training", steps=6000, hours=1.0,
                words=("daclip", *TEXT, "--content", "0.2", "--learning-rate", "7e-4"),
            ),
            Link(
                name="nafnet-daclip", module="models.training", steps=12_000, hours=2.5,
                words=(
                    "nafnet-daclip", *TEXT, "--daclip", "{runs}/daclip/best.safetensors", "--told", "1",
                    "--batch", "16",
                ),
            ),
            Link(
                name="daclip-small", module="models.training.daclip.package", resumes=False, photos=False,
                words=(
                    "--daclip", "{runs}/daclip/best.safetensors", "--nafnet", "{runs}/nafnet-daclip/best.safetensors",
                    "--out", "{runs}/daclip-small",
                ),
            ),
        )
    ),
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="python -m models.training.chain", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    arguments.add_argument("bundle", choices=sorted(CHAINS))
    arguments.add_argument("--images", type=Path, action="append", required=True, help="a folder of photos; repeatable")
    arguments.add_argument("--out", type=Path, help="where all of it goes; default: runs/BUNDLE")
    arguments.add_argument("--share", type=float, default=1.0, help="of every stage's steps; 0.001 is a trial")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--bf16", action=argparse.BooleanOptionalAction, help="autocast; default: on CUDA only")
    arguments.add_argument("--threads", type=int, help="CPU threads; all cores when left out")
    return arguments


def main() -> int:
    console = Console(stderr=True)
    said = parser().parse_args()
    chain, runs = CHAINS[said.bundle], said.out or Path("runs") / said.bundle
    runs.mkdir(parents=True, exist_ok=True)
    extra = [] if said.bf16 is None else ["--bf16" if said.bf16 else "--no-bf16"]
    extra += [] if said.threads is None else ["--threads", str(said.threads)]
    console.print(f"{said.bundle}: an estimated {chain.hours * said.share:.1f} hours of one core", markup=False)
    for number, link in enumerate(chain.links, start=1):
        ended = runs / f"{link.name}.ended"
        if ended.exists():
            console.print(f"{number}/{len(chain.links)} {link.name}: done before", markup=False)
            continue
        words = link.command(runs, said.images, said.share, said.seed, extra)
        console.print(f"{number}/{len(chain.links)} {link.name}: {' '.join(words[1:])}", markup=False)
        try:
            code = subprocess.run(words, check=False).returncode
        except KeyboardInterrupt:
            code = 130
        if code:
            console.print(f"{link.name} ended with {code}; the same command goes on from here", markup=False)
            return code
        ended.touch()
    console.print(
        f"the bundle is {runs / said.bundle}; try it: undegrade restore PHOTO --bundle {runs / said.bundle}",
        markup=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
