"""Prepare what must travel to a GPU machine that takes at most 64 MiB of files and has no network: make gpu-kit

Writes a folder that git ignores, with the wheels that such a machine lacks, a trimmed bundle and a manifest, checks
the size of the folder and of the source together, and prints the commands.  It needs a network only for new wheels.

Example: python benchmarks/gpu_kit.py --out .gpu-kit
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from conditions import make_parser
from gpu_stages.trimmed_bundle import MANTISSA_BITS, left_out, trim_bundle
from gpu_stages.wheels import PYTHON, download, metadata_wheel, missing_packages

from models.bundle import DEFAULT_BUNDLE, find_bundle, read_manifest, sha256_of

ROOT = Path(__file__).parents[1]
LIMIT_BYTES = 64 * 2**20
STAYS = ("models/bundles/", "models/training/learn/replay.safetensors", "tests/parity/")
"""What the run on the GPU does not need: shipped bundles, evidence for `learn`, and vectors of published networks."""
WHEELS, ARCHIVE, MANIFEST = "wheels", "bundle.tar.bz2", "manifest.json"
THERE, SITE = "/tmp/bundles", "/tmp/site"


class TooLarge(Exception):
    """The kit and the source are over the limit."""


def source_files(root: Path = ROOT) -> list[Path]:
    """Returns what travels of the working tree: tracked and new files that git does not ignore, without what STAYS."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=root, check=True, capture_output=True, text=True).stdout
    files = [root / name for name in sorted(set(listed.split("\0"))) if name and not name.startswith(STAYS)]
    return [file for file in files if file.is_file()]


def check_size(parts: Mapping[str, int], limit_bytes: int = LIMIT_BYTES) -> str:
    """Returns the sizes as a sentence.

    Raises:
        TooLarge: together they are over the limit.
    """
    total = sum(parts.values())
    sizes = ", ".join(f"{name} {size / 2**20:.1f}" for name, size in parts.items())
    sentence = f"{total / 2**20:.1f} MiB of at most {limit_bytes / 2**20:.0f} ({sizes})"
    if total > limit_bytes:
        largest = max(parts, key=lambda name: parts[name])
        raise TooLarge(
            f"too large to travel: {sentence}. Leave out {(total - limit_bytes) / 2**20:.1f} MiB; the largest part is "
            f"{largest}. New files that git does not ignore count as source."
        )
    return sentence


def commands(kit: str, arguments: Sequence[str] = ("--minutes", "8")) -> dict[str, str]:
    """Returns the commands before the run, on the GPU machine, and after it; `kit` is relative to the repository."""
    there = [
        f"python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target {SITE} {kit}/{WHEELS}/*.whl",
        f"python3 -m tarfile -e {kit}/{ARCHIVE} {THERE}",
        f"export PYTHONPATH={SITE} UNDEGRADE_BUNDLES={THERE} PYTHONUNBUFFERED=1",
        f"python3 benchmarks/gpu.py {' '.join(arguments)} --out $OUT",
    ]
    return {
        "before": " ".join(["git sparse-checkout set --no-cone '/*'", *(f"'!/{path}'" for path in STAYS)]),
        "there": " && ".join(there),
        "after": "git sparse-checkout disable",
    }


def make_kit(out: Path, bundle: Path, limit_bytes: int = LIMIT_BYTES) -> str:
    """Write the kit; returns what to tell the user.

    Raises:
        TooLarge: it may not travel.
        RuntimeError: the wheels could not be downloaded.
        BundleError: the bundle cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "bundle", ignore_errors=True)
    pyproject = ROOT / "pyproject.toml"
    wheels = [*download(missing_packages(pyproject), out / WHEELS), metadata_wheel(pyproject, out / WHEELS)]
    print(f"{len(wheels)} wheels for Python {PYTHON} are in {out / WHEELS}", flush=True)
    original = read_manifest(bundle)
    archive = out / ARCHIVE
    trimmed = trim_bundle(bundle, out / "bundle" / original.name, archive)
    shutil.rmtree(out / "bundle")  # only the archive travels
    parts = {
        "source": sum(file.stat().st_size for file in source_files()),
        "wheels": sum(wheel.stat().st_size for wheel in wheels),
        "bundle": archive.stat().st_size,
    }
    content = {str(path.relative_to(out)): sha256_of(path) for path in [*wheels, archive]}
    without = ", ".join(left_out(original)) or "none"
    facts = {
        "bundle": f"{trimmed.name} {trimmed.version}", "specialists left out": without,
        "bits of mantissa": MANTISSA_BITS, "bytes": parts, "sha256": content, "commands": commands(str(out)),
    }  # fmt: skip
    (out / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")
    sentence = check_size({**parts, "manifest": (out / MANIFEST).stat().st_size}, limit_bytes)
    said = commands(str(out))
    return (
        f"{trimmed.name} {trimmed.version}: without the specialists {without}, without the embeddings of words that no "
        f"prompt of the run has, and with {MANTISSA_BITS} bits of mantissa\n"
        f"What travels: {sentence}\n\n"
        f"1. Here, so that the shipped bundles stay:\n{said['before']}\n\n"
        f'2. On the GPU machine (run tool: carry ["{out}"], timeout_s 600):\n{said["there"]}\n\n'
        f"3. Here, afterwards:\n{said['after']}"
    )


def main(words: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path(".gpu-kit"), help="folder of the kit (default: .gpu-kit)")
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE, help="name or folder of an AutoDIR bundle")
    parser.add_argument(
        "--limit-mib", type=float, default=LIMIT_BYTES / 2**20, help="most that may travel (default: 64)"
    )
    arguments: argparse.Namespace = parser.parse_args(words)
    try:
        print(make_kit(arguments.out, find_bundle(arguments.bundle), int(arguments.limit_mib * 2**20)))
    except (TooLarge, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
