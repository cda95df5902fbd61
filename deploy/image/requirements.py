"""Prints what pip installs into an image: the packages of extras of pyproject.toml, without undegrade itself.

The packages are a layer of their own below the code, so that a change of the code does not install them again.  Needs
only the standard library: it runs in the build, where nothing is installed yet.

    python requirements.py EXTRA[,EXTRA] [TORCH] > requirements.txt
"""

import re
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
BUILDS = r"cpu|cuda|cu\d+|rocm[\d.]+"


def requirements(pyproject: str, extra: str) -> list[str]:
    """Returns the requirements of the project and of extras (with commas), with the extras that these name.

    Raises:
        KeyError: there is no such extra.
    """
    project = tomllib.loads(pyproject)["project"]

    def of(name: str) -> list[str]:
        found: list[str] = []
        for line in project["optional-dependencies"][name]:
            own = re.fullmatch(r"undegrade\[([\w,-]+)\]", line)
            found += [entry for part in own[1].split(",") for entry in of(part)] if own else [line]
        return found

    return [*project["dependencies"], *(line for name in extra.split(",") for line in of(name))]


def torch_pin(constraints: str, build: str) -> str:
    """Returns the requirement for one build of torch in the version of the constraints.

    Args:
        build: `cpu`, or `cuda` for the build without a label, or the label of an index, such as `cu126`.

    Raises:
        ValueError: the build is none of these, or the constraints have no torch.
    """
    if not re.fullmatch(BUILDS, build):
        raise ValueError(f"got TORCH={build}, expected cpu, cuda, or a label such as cu126")
    version = re.search(r"^torch==([\d.]+)", constraints, re.MULTILINE)
    if version is None:
        raise ValueError("constraints.txt has no line torch==VERSION")
    # === compares texts: torch==2.13.0 would also accept 2.13.0+cpu
    return f"torch==={version[1]}" if build == "cuda" else f"torch=={version[1]}+{build}"


def main() -> None:
    """Print the lines, or end with a message."""
    extra, *build = sys.argv[1:]
    try:
        lines = requirements((FOLDER / "pyproject.toml").read_text(), extra)
        if build:
            lines.append(torch_pin((FOLDER / "constraints.txt").read_text(), build[0]))
    except (KeyError, ValueError) as error:
        sys.exit(f"error: {error}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
