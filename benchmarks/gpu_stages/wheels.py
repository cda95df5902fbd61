"""The packages that undegrade needs and a GPU machine lacks, and their files for its version of Python.

The list is computed from pyproject.toml and from what the installed packages require, so it cannot be outdated.
undegrade itself travels as source; a wheel without modules tells its version to those parts that ask for it.
"""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

from packaging.requirements import Requirement

PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_LISTED = """
accelerate aiohttp annotated-doc anyio attrs certifi click colorama einops filelock fsspec h11 h5py hf-xet httpcore
httpx huggingface-hub hypothesis idna imageio iniconfig jinja2 markdown-it-py markupsafe mdurl mpmath networkx numpy
opencv-python-headless packaging pandas pillow pip pluggy prometheus-client psutil pygments pytest pytest-timeout
pytest-xdist python-dateutil pyyaml regex requests rich safetensors scikit-image scipy setuptools shellingham six
sortedcontainers sympy threadpoolctl tifffile tokenizers torch torchmetrics torchvision tqdm transformers triton
typing-extensions uvloop zipp
"""
PRESENT = frozenset(_LISTED.split())
"""What such a machine has, as one of November 2026 listed it; with torch 2.11 for CUDA 13."""
UNUSED = frozenset({"imagecodecs", "timm"})
"""Imported for files that the run does not have (imagecodecs, 30 MB), or only if it is there (timm)."""
RENEWED = frozenset({"typing-extensions"})
"""Present, perhaps in a version that is too old for pydantic; small enough to be carried anyway."""
EXTRAS = ("api", "worker")
ENVIRONMENT = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.3", "extra": ""}


def missing_packages(
    pyproject: Path, present: Set[str] = PRESENT - RENEWED, unused: Set[str] = UNUSED
) -> dict[str, str]:
    """Returns the versions, as installed here, of all packages that API and worker need directly or indirectly.

    Raises:
        PackageNotFoundError: a package is not installed here.
    """
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project.get("optional-dependencies", {})
    stated = [*project["dependencies"], *(line for name in EXTRAS for line in extras.get(name, ()))]
    needed: dict[str, str] = {}
    todo, seen = [Requirement(line) for line in stated], set[str]()
    while todo:
        requirement = todo.pop()
        name = normalized(requirement.name)
        if name in present | unused or str(requirement) in seen:
            continue
        seen.add(str(requirement))
        needed[name] = importlib.metadata.version(name)
        todo += _requirements(name, requirement.extras)
    return dict(sorted(needed.items()))


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**ENVIRONMENT, "extra": extra}) for extra in ("", *extras)):
            yield requirement


def download(packages: Mapping[str, str], folder: Path) -> list[Path]:
    """Fetch the wheels that are not in the folder yet, and remove others; returns them all.

    Raises:
        RuntimeError: pip failed; the message has its last lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{name}-{version}".lower(): f"{name}=={version}" for name, version in packages.items()}
    for wheel in folder.glob("*.whl"):
        if wanted.pop(_stem(wheel), None) is None:
            wheel.unlink()
    if wanted:
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        words += ["--python-version", PYTHON, "--implementation", "cp", "--dest", str(folder)]
        words += [word for platform in PLATFORMS for word in ("--platform", platform)]
        done = subprocess.run([*words, *wanted.values()], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"pip could not download the wheels:\n{done.stderr.strip()[-1000:]}")
    return sorted(folder.glob("*.whl"))


def metadata_wheel(pyproject: Path, folder: Path) -> Path:
    """Write a wheel with the project's name and version, and nothing else."""
    project = tomllib.loads(pyproject.read_text())["project"]
    name, version = project["name"], project["version"]
    folder.mkdir(parents=True, exist_ok=True)
    path, inside = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: gpu-kit\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files["RECORD"] = "".join(f"{inside}/{file},,\n" for file in [*files, "RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(f"{inside}/{file}", text)
    return path


def _stem(wheel: Path) -> str:
    name, version = wheel.name.split("-")[:2]
    return f"{normalized(name)}-{version}".lower()
