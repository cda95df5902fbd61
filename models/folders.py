"""Where bundles lie on this machine.  No torch: commands that only look and fetch should not wait for it."""

import os
from pathlib import Path

MANIFEST = "bundle.json"
SHIPPED = Path(__file__).parent / "bundles"


def bundle_folders() -> list[Path]:
    """Where bundles are looked for: UNDEGRADE_BUNDLES' folders, the user's own one, then the shipped ones."""
    return [*_named(), _own(), SHIPPED]


def pull_folder() -> Path:
    """Where fetched bundles go: the first folder in UNDEGRADE_BUNDLES, else the user's own one."""
    return next(iter(_named()), _own())


def _named() -> list[Path]:
    return [Path(entry) for entry in os.environ.get("UNDEGRADE_BUNDLES", "").split(os.pathsep) if entry]


def _own() -> Path:
    """Below the user's data folder (XDG base directories); stays relative (~) for a user without a home."""
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data and Path(data).is_absolute() else Path(os.path.expanduser("~/.local/share"))
    return base / "undegrade" / "bundles"
