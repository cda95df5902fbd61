"""A loaded bundle on a device, for the commands that need one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.console import say
from cli.settings import settings
from models.errors import DeviceError

if TYPE_CHECKING:
    from models.restorer import Restorer


def open_restorer(bundle: str | None, device: str | None) -> "Restorer":
    """Load the bundle that was asked for and say what runs where.

    Raises:
        DeviceError, BundleError: with what to do.
    """
    import torch  # seconds to load: only commands that compute pay for it

    from models.bundle import find_bundle
    from models.device import Speed, choose_device
    from models.families import load_restorer

    told = settings()
    if told.threads:
        torch.set_num_threads(told.threads)
    chosen = choose_device(device or told.device)
    path = find_bundle(bundle or told.default_bundle)
    with memory_in_words():
        restorer = load_restorer(path, chosen.device, Speed.of(chosen.device, told.cuda_graphs))
    say(f"{path.name} on {chosen.device} ({chosen.why})")
    return restorer


@contextmanager
def memory_in_words() -> Iterator[None]:
    """Make a sentence of running out of memory, which torch tells in several ways.

    Raises:
        DeviceError: there was not enough.
    """
    from torch import OutOfMemoryError

    try:
        yield
    except (MemoryError, OutOfMemoryError) as error:
        short: Exception = error
    except RuntimeError as error:
        if "alloc" not in str(error):  # "DefaultCPUAllocator: can't allocate memory", "not enough memory: you tried to"
            raise
        short = error
    else:
        return
    raise DeviceError("out of memory. Close other programs, scale the photo down, or try --device cpu.") from short
