"""Writes a bill of materials (CycloneDX) of the Python packages in each image: `make sbom`, after `make image`."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from build import ROOT, TARGETS, find_engine

LIST = """
from importlib.metadata import distributions
print("\\n".join(sorted({f"{d.name}=={d.version}" for d in distributions()})))
"""


def packages(engine: str, image: str) -> str:
    """Returns the lines NAME==VERSION of what is installed in an image.

    Raises:
        SystemExit: there is no such image.
    """
    command = [engine, "run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", LIST]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: cannot read the packages of {image}; `make image` builds it.\n{done.stderr}")
    return done.stdout


def main(words: Sequence[str]) -> None:
    """Write FOLDER/api.cdx.json and FOLDER/worker.cdx.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("docker", "podman"))
    parser.add_argument("--tag", default="local", help="tag of the images (default: local)")
    parser.add_argument("--out", type=Path, default=ROOT / "sbom", help="folder (default: sbom)")
    given = parser.parse_args(words)
    engine = given.engine or find_engine()
    if engine == "buildah":
        sys.exit("error: buildah alone cannot run an image. Install podman or docker.")
    given.out.mkdir(exist_ok=True)
    for target in TARGETS:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write(packages(engine, f"undegrade-{target}:{given.tag}"))
            listed.flush()
            path = given.out / f"{target}.cdx.json"
            program = Path(sys.executable).with_name("cyclonedx-py")
            subprocess.run(
                [program, "requirements", "--pyproject", ROOT / "pyproject.toml", "--output-reproducible",
                 "--output-file", path, listed.name],
                check=True,
            )  # fmt: skip
            sys.stderr.write(f"wrote {path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
