"""Finds bundles by name and loads them onto a device, for the commands that need networks."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import print_message
from cli.settings import settings
from models.errors import ControlsError, DeviceError

if TYPE_CHECKING:
    from models.restorer import Restorer


def load_bundle(bundle: str | None, device: str | None) -> "Restorer":
    """Load a bundle, and print its name and device.  None takes the value of the settings.

    Raises:
        DeviceError, BundleError: the device or the bundle cannot be used.
    """
    import torch  # takes seconds to load: only commands that compute load it

    from models.bundle import find_bundle
    from models.device import Speed, bound_memory, choose_device
    from models.device_memory import bound_note, room_for
    from models.families import load_restorer, memory_needed

    env = settings()
    if env.threads:
        torch.set_num_threads(env.threads)
    chosen = choose_device(device or env.device)
    bound_memory(chosen.device, env.device_memory_gib)
    path = find_bundle(bundle or env.default_bundle)
    speed = Speed.of(chosen.device, env.cuda_graphs, env.compile)
    _log_to_stderr()
    with room_for({path.name: memory_needed(path, speed)}, chosen, env.device_memory_gib):
        restorer = load_restorer(path, chosen.device, speed)
    print_message(f"{path.name} on {chosen.device} ({chosen.why}{bound_note(chosen.device, env.device_memory_gib)})")
    return restorer


def bundle_labels(bundle: str | None) -> tuple[str, str, str]:
    """Returns the name, the version and the credit of a bundle; None takes that of the settings.

    Raises:
        BundleError: it does not exist, or its manifest cannot be read.
    """
    from models.bundle import find_bundle, read_manifest

    path = find_bundle(bundle or settings().default_bundle)
    manifest = read_manifest(path)
    return path.name, manifest.version, manifest.credit


def _log_to_stderr() -> None:
    """Send the log events of networks to stderr: stdout may carry a photo or JSON."""
    import structlog

    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))  # the stderr of that moment


def find_bundles(names: Sequence[str | None]) -> dict[str, Path]:
    """Returns the folders of several bundles, keyed by the name that jobs use, in the given order.

    Raises:
        ControlsError: two bundles have the same name.
        BundleError: a bundle does not exist.
    """
    from models.bundle import find_bundle

    folders = [find_bundle(name) for name in names]
    found = {folder.name: folder.resolve() for folder in folders}
    if len(found) < len(set(folders)):
        raise ControlsError(f"two bundles have the same name: {', '.join(map(str, folders))}. Rename one folder.")
    return found


@contextmanager
def report_out_of_memory() -> Iterator[None]:
    """Turn the several errors that torch raises when memory runs out into one.

    Raises:
        DeviceError: memory ran out.
    """
    from models.device_memory import is_lack_of_memory

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        cause = error
    else:
        return
    raise DeviceError("out of memory. Close other programs, scale the photo down, or use --device cpu.") from cause
