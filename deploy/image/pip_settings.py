"""This machine's pip configuration as a secret of the build: a mirror or an index of a company serves the image, too.

The secret never gets into a layer.  Folders and certificates that the configuration names are mounted read-only where
the program that builds can do so.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

KEPT = ("cert", "constraint", "extra-index-url", "find-links", "index-url", "no-index", "timeout", "trusted-host")


def machine_settings() -> dict[str, str]:
    """Returns the settings of pip on this machine: those of its files, overridden by PIP_* variables."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():  # global.index-url='...' and :env:.index-url='...'
        if match := re.fullmatch(r"(:env:|[a-z]+)\.([\w-]+)='(.*)'", line):
            found.setdefault(match[2].replace("_", "-"), []).append(match[3])
    for name in KEPT:
        if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
            found.setdefault(name, []).append(value)
    return {name: values[-1] for name, values in found.items() if name in KEPT and values[-1]}


def as_file(settings: dict[str, str]) -> str:
    """Returns the text of a pip.conf."""
    return "".join(["[global]\n", *(f"{name} = {value}\n" for name, value in sorted(settings.items()))])


def local_paths(settings: dict[str, str]) -> list[Path]:
    """Returns the folders of this machine that the settings name; a file counts as its folder."""
    words = [word.removeprefix("file://") for value in settings.values() for word in value.split()]
    paths = {Path(word) for word in words if word.startswith("/")}
    folders = {path if path.is_dir() else path.parent for path in paths if path.exists()}
    if any(folder.name == "simple" for folder in folders):  # an index's files lie beside its pages
        folders = {folder.parent if folder.name == "simple" else folder for folder in folders}
    return sorted(folders)
