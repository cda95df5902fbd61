"""The folders that bundles are installed in.  Never imports torch: listing and downloading bundles must start fast."""

import importlib.util
import os
from pathlib import Path

MANIFEST = "bundle.json"
SHIPPED = Path(__file__).parent / "bundles"
"""The folder of the bundles that are part of undegrade."""
PACKAGED = "undegrade_bundles"
"""A namespace package without code: each distribution of a bundle adds the bundle's folder to it."""
DISTRIBUTIONS = {"daclip-small": "undegrade-daclip-small"}
"""Our bundles that the wheel of undegrade lacks, and the distributions that have them."""


def bundle_folders() -> list[Path]:
    """Returns the folders to search for bundles.

    Those of UNDEGRADE_BUNDLES, then the user's own, then the shipped, then those of installed distributions.
    """
    return [*_configured_folders(), _user_folder(), SHIPPED, *_packaged_folders()]


def pull_folder() -> Path:
    """Returns the folder for downloaded bundles: the first of UNDEGRADE_BUNDLES, otherwise the user's own."""
    return next(iter(_configured_folders()), _user_folder())


def _packaged_folders() -> list[Path]:
    spec = importlib.util.find_spec(PACKAGED)
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]


def _configured_folders() -> list[Path]:
    return [Path(entry) for entry in os.environ.get("UNDEGRADE_BUNDLES", "").split(os.pathsep) if entry]


def _user_folder() -> Path:
    """Returns a folder below the user's data folder (XDG base directories); relative (~) for a user without a home."""
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data and Path(data).is_absolute() else Path(os.path.expanduser("~/.local/share"))
    return base / "undegrade" / "bundles"
