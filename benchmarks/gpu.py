"""Measure everything that a GPU changes, in one run without a network: python benchmarks/gpu.py --minutes 8 --out DIR

Stages run in the order of their value, each in a process of its own with a share of the time.  A stage that fails or
takes too long does not hide the others, and results.json and results.md are written after each.

Example on a CPU: python benchmarks/gpu.py --device cpu --minutes 2 --tiny
What must travel to a GPU machine: make gpu-kit
"""

import argparse
import faulthandler
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_stages.runner import SKIPPED_EXIT_CODE, Row, Skipped, Stage, run_stages

if TYPE_CHECKING:
    pass

STAGES = (
    Stage("facts", 0.05), Stage("tests", 0.17), Stage("autodir", 0.32), Stage("daclip", 0.11), Stage("mixed", 0.12),
    Stage("small", 0.11), Stage("service", 0.12),
)  # fmt: skip
PLACES = {
    "facts": ("facts", "facts"), "tests": ("facts", "gpu_tests"), "autodir": ("networks", "autodir_pass"),
    "daclip": ("daclip_steps", "daclip_unet"), "mixed": ("mixed", "mixed"), "small": ("small", "small"),
    "service": ("over_http", "over_http"),
}  # fmt: skip
"""The module and the function of each stage; only its own is imported, so a module that fails hides no other stage."""


def run_one(name: str, arguments: argparse.Namespace) -> int:
    """Run one stage in this process; writes each row at once.  Returns the exit code."""
    import torch
    from gpu_stages.options import Options

    # A stage that hangs is killed; its log then says where it was
    faulthandler.dump_traceback_later(0.95 * arguments.seconds)
    found = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(arguments.device or found)
    options = Options(device=device, tiny=arguments.tiny, seconds=arguments.seconds)
    module, function = PLACES[name]
    stage: Callable[[Options], Iterator[Row]] = getattr(import_module(f"gpu_stages.{module}"), function)
    with arguments.rows.open("a") as rows:
        try:
            for row in stage(options):
                rows.write(json.dumps(row) + "\n")
                rows.flush()
        except Skipped as reason:
            print(reason, flush=True)
            return SKIPPED_EXIT_CODE
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="time of all stages together (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of the results")
    parser.add_argument("--device", help="cuda or cpu (default: cuda if there is one)")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and pictures, to try the program")
    names = [stage.name for stage in STAGES]
    parser.add_argument("--only", choices=names, nargs="+", help="these stages only")
    parser.add_argument("--stage", choices=names, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=600.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        parser.error(f"got --minutes {arguments.minutes:g}, expected more than 0")
    if arguments.stage:
        return run_one(arguments.stage, arguments)
    root = Path(__file__).parents[1]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))

    def command(stage: Stage, rows: Path, seconds: float) -> list[str]:
        words = [sys.executable, __file__, "--stage", stage.name, "--rows", str(rows), "--seconds", str(seconds)]
        words += ["--device", arguments.device] if arguments.device else []
        return words + (["--tiny"] if arguments.tiny else [])

    chosen = [stage for stage in STAGES if stage.name in (arguments.only or names)]
    results = run_stages(chosen, command, arguments.out, 60 * arguments.minutes)
    print((arguments.out / "results.md").read_text())
    return int(any(result.status in ("failed", "timeout") for result in results))


if __name__ == "__main__":
    sys.exit(main())
