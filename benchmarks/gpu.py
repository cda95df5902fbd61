"""Measure everything that a GPU changes, in one run without a network: python benchmarks/gpu.py --minutes 8 --out DIR

Stages run in the order of their value, each in a process of its own with a share of the time.  A stage that fails or
takes too long does not hide the others, and results.json and results.md are written after each.

Example on a CPU: python benchmarks/gpu.py --device cpu --minutes 2 --tiny
"""

import argparse
import json
import os
import sys
from pathlib import Path

from gpu_stages.runner import SKIPPED_EXIT_CODE, Skipped, Stage, run_stages

STAGES = (
    Stage("facts", 0.05), Stage("tests", 0.15), Stage("autodir", 0.35), Stage("daclip", 0.1), Stage("mixed", 0.12),
    Stage("small", 0.11), Stage("service", 0.12),
)  # fmt: skip


def run_one(name: str, arguments: argparse.Namespace) -> int:
    """Run one stage in this process; writes each row at once.  Returns the exit code."""
    import torch
    from gpu_stages import networks, pictures
    from gpu_stages.options import Options

    stages = {
        "facts": networks.facts, "tests": pictures.gpu_tests, "autodir": networks.autodir_pass,
        "daclip": networks.daclip_unet, "mixed": pictures.mixed, "small": pictures.small,
        "service": pictures.over_http,
    }  # fmt: skip
    found = "cuda" if torch.cuda.is_available() else "cpu"
    options = Options(device=torch.device(arguments.device or found), tiny=arguments.tiny)
    with arguments.rows.open("a") as rows:
        try:
            for row in stages[name](options):
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
    parser.add_argument("--stage", choices=[stage.name for stage in STAGES], help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        return run_one(arguments.stage, arguments)
    root = Path(__file__).parents[1]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))

    def command(stage: Stage, rows: Path) -> list[str]:
        words = [sys.executable, __file__, "--stage", stage.name, "--rows", str(rows)]
        words += ["--device", arguments.device] if arguments.device else []
        return words + (["--tiny"] if arguments.tiny else [])

    results = run_stages(STAGES, command, arguments.out, 60 * arguments.minutes)
    print((arguments.out / "results.md").read_text())
    return int(any(result.status in ("failed", "timeout") for result in results))


if __name__ == "__main__":
    sys.exit(main())
