"""Writes constraints.txt: one version of every package that tests and images install (`make constraints`).

uv resolves for all systems and for every Python from 3.11 at once; pip installs.  Versions stay as they are, unless
--upgrade is given.  NVIDIA's packages are left out: each CUDA build of torch names its own.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "constraints.txt"
HEADER = """\
# Versions of everything that tests and images install; `make constraints` writes this file, for Python 3.11 to 3.13.
# Not listed: NVIDIA's packages, which torch's CUDA build pins itself.
"""
LEFT_OUT = ("nvidia-", "cuda-", "triton")


def as_constraints(resolved: str) -> str:
    """Returns the text of the file for what uv resolved.

    A marker is kept only where systems need different versions: pip ignores a constraint on what it does not install.
    """
    lines = [line for line in resolved.splitlines() if re.match(r"[a-z0-9]", line) and not line.startswith(LEFT_OUT)]
    counts = Counter(line.partition("==")[0] for line in lines)
    kept = [line if counts[line.partition("==")[0]] > 1 else line.partition(" ;")[0] for line in lines]
    return HEADER + "".join(f"{line}\n" for line in kept)


def main(words: Sequence[str]) -> None:
    """Resolve, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    given = parser.parse_args(words)
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    with tempfile.TemporaryDirectory() as folder:
        build, resolved = Path(folder, "build.in"), Path(folder, "resolved.txt")
        build.write_text("\n".join(pyproject["build-system"]["requires"]) + "\n")
        if TARGET.is_file():
            resolved.write_text(TARGET.read_text())  # uv prefers the versions that it finds in its output file
        command = [
            str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal", "--python-version",
            "3.11", "--all-extras", "--no-header", "--no-annotate", "--output-file", str(resolved),
            *(["--upgrade"] if given.upgrade else []), str(ROOT / "pyproject.toml"), str(build),
        ]  # fmt: skip
        if code := subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            sys.exit(code)
        TARGET.write_text(as_constraints(resolved.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
