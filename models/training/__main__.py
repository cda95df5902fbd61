"""`python -m models.training COMMAND`: train one stage, train a whole bundle, or look at training data and results.

The stages of the AutoDIR paper are assessor, air and scm.  `autodir-small` is trained in this order: text, the
specialists (detail, weather, light), glance, assessor, air, scm, package-autodir.  Later stages read the files of
earlier ones.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from models.errors import ModelsError, TrainingError
from models.training import chain, evidence, slim, stages, text_stage, unpack
from models.training.autodir import package as autodir_package
from models.training.core import curves
from models.training.core.processes import Place
from models.training.daclip import package as daclip_package
from models.training.data import captioned_rows, contact_sheets

PROGRAM = "python -m models.training"
EXAMPLE = f"""example, every stage of autodir-small by one command:
  {PROGRAM} chain autodir-small --images photos/
example, stage by stage:
  {PROGRAM} text --out runs/text/text.safetensors
  {PROGRAM} detail --images photos/ --out runs/detail    (and light, blur)
  {PROGRAM} weather --images photos/ --out runs/weather --specialist detail=runs/detail/best.safetensors
  {PROGRAM} glance --images photos/ --text runs/text/text.safetensors --out runs/glance --minutes 40
  {PROGRAM} assessor --images photos/ --text runs/text/text.safetensors --out runs/assessor \\
      --glance runs/glance/best.safetensors --specialist detail=runs/detail/best.safetensors \\
      --specialist weather=runs/weather/best.safetensors --specialist light=runs/light/best.safetensors
  {PROGRAM} air --images photos/ --text runs/text/text.safetensors --out runs/air --minutes 60
  {PROGRAM} scm --images photos/ --text runs/text/text.safetensors --out runs/scm --air runs/air/best.safetensors
  {PROGRAM} package-autodir --assessor runs/assessor/best.safetensors --air runs/air/best.safetensors \\
      --scm runs/scm/best.safetensors --out my-bundle
example, one stage on two GPUs (docs/training.md):
  torchrun --nproc-per-node 2 -m models.training air --images photos/ --text runs/text/text.safetensors --out runs/air
Every command explains its options with --help.
"""
STAGE_EXAMPLES = {
    "weather": "--specialist detail=runs/detail/best.safetensors",
    "glance": "--text runs/text/text.safetensors",
    "assessor": "--text runs/text/text.safetensors --glance runs/glance/best.safetensors "
    "--specialist detail=runs/detail/best.safetensors --specialist weather=runs/weather/best.safetensors "
    "--specialist light=runs/light/best.safetensors",
    "air": "--text runs/text/text.safetensors",
    "scm": "--text runs/text/text.safetensors --air runs/air/best.safetensors",
    "irsde": "--daclip runs/daclip/best.safetensors",
    "nafnet-daclip": "--daclip runs/daclip/best.safetensors",
    "etdiffir": "--daclip runs/daclip/best.safetensors",
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand; `run` returns the exit code."""

    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Console], int]


def _stage(name: str) -> Command:
    example = " ".join(word for word in (name, "--images photos/ --out runs/" + name, STAGE_EXAMPLES.get(name)) if word)
    return Command(
        summary=stages.STAGES[name].summary, example=example, add_arguments=stages.add_arguments, run=stages.run
    )


COMMANDS = {
    "text": Command(
        summary="train the text encoder, which the other stages keep frozen",
        example="text --out runs/text/text.safetensors",
        add_arguments=text_stage.add_arguments, run=text_stage.run,
    ),
    **{name: _stage(name) for name in stages.STAGES},
    "evidence": Command(
        summary="store what the assessor's frozen networks find in training pictures, for the stage assessor",
        example="evidence --images photos/ --out runs/evidence --seed 1 " + STAGE_EXAMPLES["assessor"],
        add_arguments=evidence.add_arguments, run=evidence.run,
    ),
    "package-autodir": Command(
        summary="write an AutoDIR bundle from trained networks",
        example="package-autodir --assessor runs/assessor/best.safetensors --air runs/air/best.safetensors "
        "--scm runs/scm/best.safetensors --out my-bundle",
        add_arguments=autodir_package.add_arguments, run=autodir_package.run,
    ),
    "package-daclip": Command(
        summary="write a DA-CLIP or ETDiffIR bundle from trained networks",
        example="package-daclip --daclip runs/daclip/best.safetensors --nafnet runs/nafnet-daclip/best.safetensors "
        "--out my-bundle",
        add_arguments=daclip_package.add_arguments, run=daclip_package.run,
    ),
    "slim": Command(
        summary="write a smaller copy of a bundle, which restores the same pictures",
        example="slim autodir-small --out smaller", add_arguments=slim.add_arguments, run=slim.run,
    ),
    "unpack": Command(
        summary="write the networks of a bundle as files of the stages",
        example="unpack autodir-small --out runs/autodir-small", add_arguments=unpack.add_arguments, run=unpack.run,
    ),
    "chain": Command(
        summary="run every stage of a small bundle, one after the other",
        example="chain autodir-small --images photos/", add_arguments=chain.add_arguments, run=chain.run,
    ),
    "curves": Command(
        summary="draw the validation results of runs over time",
        example="curves runs/detail runs/weather --out learning.svg",
        add_arguments=curves.add_arguments, run=curves.run,
    ),
    "show-degradations": Command(
        summary="write a contact sheet of the synthetic degradations",
        example="show-degradations photos/ --out sheet.png",
        add_arguments=contact_sheets.add_degradation_arguments, run=contact_sheets.run_degradations,
    ),
    "show-wild": Command(
        summary="write a contact sheet of the in-the-wild pipeline",
        example="show-wild photo.jpg --out sheet.png",
        add_arguments=contact_sheets.add_wild_arguments, run=contact_sheets.run_wild,
    ),
    "captioned-rows": Command(
        summary="write a data set of image, caption and degradation",
        example="captioned-rows photos/ --out dataset --count 1000",
        add_arguments=captioned_rows.add_arguments, run=captioned_rows.run,
    ),
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = commands.add_parser(
            name, help=command.summary, description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=f"example:\n  {PROGRAM} {command.example}", formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_arguments(own)
    return whole


def main() -> int:
    console = Console(stderr=True)
    arguments = parser().parse_args()
    try:
        if Place.of().share.count > 1 and arguments.command not in stages.STAGES:
            raise TrainingError(f"{arguments.command} runs in one process: start it by {PROGRAM}, not by torchrun.")
        return COMMANDS[arguments.command].run(arguments, console)
    except ModelsError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 3
    except KeyboardInterrupt:
        console.print("interrupted", markup=False)
        return 130


if __name__ == "__main__":
    sys.exit(main())
