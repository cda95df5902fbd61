"""The folders that bundles are installed in.  Never imports torch: listing and downloading bundles must start fast."""

import os
from pathlib import Path

MANIFEST = "bundle.json"
SHIPPED = Path(__file__).parent / "bundles"
"""The folder of the bundles that are part of undegrade."""


def bundle_folders() -> list[Path]:
    """Returns the folders to search for bundles: those of UNDEGRADE_BUNDLES, then the user's own, then the shipped."""
    return [*_configured_folders(), _user_folder(), SHIPPED]


def pull_folder() -> Path:
    """Returns the folder for downloaded bundles: the first of UNDEGRADE_BUNDLES, otherwise the user's own."""
    return next(iter(_configured_folders()), _user_folder())


def _configured_folders() -> list[Path]:
    return [Path(entry) for entry in os.environ.get("UNDEGRADE_BUNDLES", "").split(os.pathsep) if entry]


def _user_folder() -> Path:
    """Returns a folder below the user's data folder (XDG base directories); relative (~) for a user without a home."""
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data and Path(data).is_absolute() else Path(os.path.expanduser("~/.local/share"))
    return base / "undegrade" / "bundles"
