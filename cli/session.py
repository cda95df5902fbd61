"""A loaded bundle on a device, for the commands that need one."""

import os
from typing import TYPE_CHECKING

from cli.settings import settings
from cli.talk import say

if TYPE_CHECKING:
    from models.restorer import Restorer


def open_restorer(bundle: str | None, device: str | None) -> "Restorer":
    """Load the bundle that was asked for and say what runs where.

    Raises:
        DeviceError, BundleError: with what to do.
    """
    import torch  # seconds to load: only commands that compute pay for it

    from models.bundle import find_bundle
    from models.device import choose_device
    from models.families import load_restorer

    told = settings()
    if told.bundles:
        os.environ["UNDEGRADE_BUNDLES"] = told.bundles
    if told.threads:
        torch.set_num_threads(told.threads)
    path = find_bundle(bundle or told.bundle)
    chosen = choose_device(device or told.device)
    restorer = load_restorer(path, chosen.device)
    say(f"{path.name} on {chosen.device} ({chosen.why})")
    return restorer
