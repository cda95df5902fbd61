"""Finds bundles by name and loads them onto a device, for the commands that need networks."""

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
    from models.families import load_restorer

    env = settings()
    if env.threads:
        torch.set_num_threads(env.threads)
    chosen = choose_device(device or env.device)
    bound_memory(chosen.device, env.device_memory_gib)
    path = find_bundle(bundle or env.default_bundle)
    with report_out_of_memory():
        restorer = load_restorer(path, chosen.device, Speed.of(chosen.device, env.cuda_graphs))
    print_message(f"{path.name} on {chosen.device} ({chosen.why})")
    return restorer


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
    from torch import OutOfMemoryError

    try:
        yield
    except (MemoryError, OutOfMemoryError) as error:
        cause: Exception = error
    except RuntimeError as error:
        if "alloc" not in str(error):  # "DefaultCPUAllocator: can't allocate memory", "not enough memory: you tried to"
            raise
        cause = error
    else:
        return
    raise DeviceError("out of memory. Close other programs, scale the photo down, or use --device cpu.") from cause
