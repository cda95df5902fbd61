"""Whether the weights of bundles fit on a CUDA device, and what to say where they do not.

torch's own sentence counts the megabytes of an allocation that no user asked for.  This module compares what the
weights take, from the headers of their files and the type that they get, with what the device has, before anything is
loaded.  Images come on top, so what passes here may still be too little for a photo.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from models.bundle import Manifest
from models.device import CONTEXT_BYTES, ChosenDevice, device_memory_bytes, free_bytes, tensor_bytes
from models.eight_bit import SCALE
from models.errors import BundleError, DeviceError

SETTING = "UNDEGRADE_DEVICE_MEMORY_GIB"
GIB = 2**30
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1}
OTHERS = {"I64": 8, "I32": 4, "I16": 2, "U8": 1, "BOOL": 1}
"""Types of safetensors, with bytes a value.  Floats get the type of their network when they are loaded; those in 8 bits
(models.eight_bit), too."""


@dataclass(frozen=True, kw_only=True)
class WeightsMemory:
    """The bytes that weights take: the most while they load, and once they are loaded."""

    loading_bytes: int
    resident_bytes: int

    def then(self, later: "WeightsMemory") -> "WeightsMemory":
        """Returns the memory of both, where the later ones load after these."""
        return WeightsMemory(
            loading_bytes=max(self.loading_bytes, self.resident_bytes + later.loading_bytes),
            resident_bytes=self.resident_bytes + later.resident_bytes,
        )


NOTHING = WeightsMemory(loading_bytes=0, resident_bytes=0)


def weights_memory(bundle: Path, manifest: Manifest, parts: Iterable[tuple[str, torch.dtype]]) -> WeightsMemory:
    """Returns what a bundle's weights take; `parts` are networks, and the type that the floats of each get.

    Raises:
        BundleError: a file cannot be read.
    """
    total = NOTHING
    for network, dtype_of_floats in parts:
        names, float_bytes = manifest.weights.get(network, ()), dtype_of_floats.itemsize
        stored = resident = copied = 0
        for dtype, values in (entry for name in names for entry in _tensors(bundle / name)):
            before = values * (FLOATS.get(dtype) or OTHERS.get(dtype, 1))
            after = values * float_bytes if dtype in FLOATS else before
            stored, resident = stored + before, resident + after
            copied += after if after != before else 0
        # A network is read as stored, then copied to its type; the first copy goes when the second is complete
        total = total.then(WeightsMemory(loading_bytes=stored + copied, resident_bytes=resident))
    return total


def _tensors(path: Path) -> list[tuple[str, int]]:
    """Returns the type and number of values of each tensor in a file but scales, without reading the values."""
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not name.endswith(SCALE)]  # noqa: SIM118 - it is no mapping
            slices = [file.get_slice(name) for name in names]
            return [(each.get_dtype(), math.prod(each.get_shape())) for each in slices]
    except (OSError, SafetensorError) as error:
        raise BundleError(f"cannot read {path}: {error}. Download the bundle again.") from error


@dataclass(frozen=True, kw_only=True)
class Card:
    """A CUDA device, or a MIG slice of one, as this process finds it.

    Attributes:
        total_bytes: its memory; of a slice, the slice's own.
        free_bytes: what tensors of this process could take if there were no bound.
        bound_gib: the value of UNDEGRADE_DEVICE_MEMORY_GIB; None: no bound.
    """

    name: str
    total_bytes: int
    free_bytes: int
    bound_gib: float | None = None

    @classmethod
    def read(cls, device: torch.device, bound_gib: float | None) -> "Card":
        """Returns the card that a CUDA device is; call it before anything is loaded."""
        return cls(
            name=str(device), total_bytes=device_memory_bytes(device), free_bytes=free_bytes(device, None),
            bound_gib=bound_gib,
        )  # fmt: skip

    @property
    def for_tensors_bytes(self) -> int:
        """What tensors of this process can take."""
        return self.free_bytes if self.bound_gib is None else min(self.free_bytes, tensor_bytes(self.bound_gib))


def check_room(needed_bytes: int, bundles: str, card: Card) -> None:
    """Refuse weights that cannot fit.  `bundles` names them for the user.

    Raises:
        DeviceError: what is needed, what there is, and what to change.
    """
    if needed_bytes <= card.for_tensors_bytes:
        return
    least_gib = _up(needed_bytes + CONTEXT_BYTES)
    need = (
        f"loading the weights of {bundles} takes at least {least_gib:.1f} GiB on {card.name} "
        f"({_up(needed_bytes):.1f} GiB of weights, {CONTEXT_BYTES / GIB:.1f} GiB of CUDA itself)"
    )
    instead = "serve fewer or smaller bundles, or use --device cpu"
    if needed_bytes + CONTEXT_BYTES > card.total_bytes:
        why = f"the device has {card.total_bytes / GIB:.1f} GiB"
        remedy = f"Use a card or MIG slice with more memory, {instead}."
    elif needed_bytes > card.free_bytes:
        why = f"only {card.free_bytes / GIB:.1f} of its {card.total_bytes / GIB:.1f} GiB are free"
        remedy = f"End other programs on it (nvidia-smi lists them), use another card, {instead}."
    else:
        why = f"{SETTING}={card.bound_gib:g} allows less"
        remedy = f"Set it to {least_gib:.1f} or more, and leave some for the images; or {instead}."
    raise DeviceError(f"{need}, but {why}. {remedy}")


@contextmanager
def room_for(needs: Mapping[str, WeightsMemory], chosen: ChosenDevice, bound_gib: float | None) -> Iterator[None]:
    """Check that the weights of these bundles fit; then turn torch's errors for a lack of memory into one of ours.

    The block loads the bundles in this order, and may restore a first image.

    Raises:
        DeviceError: the weights do not fit, or memory ran out.
    """
    total, names = NOTHING, ", ".join(needs)
    for need in needs.values():
        total = total.then(need)
    if chosen.device.type == "cuda":
        check_room(total.loading_bytes, names, Card.read(chosen.device, bound_gib))
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_lack_of_memory(error):
            raise
        cause = error
    else:
        return
    raise DeviceError(_ran_out(names, total, chosen.device)) from cause  # outside: the traceback keeps tensors alive


def is_lack_of_memory(error: Exception) -> bool:
    """Returns whether an error says that the device or the host has no memory left, in one of torch's several ways."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # "DefaultCPUAllocator: can't allocate memory", "not enough memory: you tried to allocate"
    return isinstance(error, RuntimeError) and "allocate" in str(error)


def _ran_out(bundles: str, need: WeightsMemory, device: torch.device) -> str:
    weights = f"while {bundles} loaded and was tried: the weights alone take {_up(need.resident_bytes):.1f} GiB"
    if device.type == "cuda":
        remedy = f"Raise {SETTING} if it is set, use a card or MIG slice with more memory"
    else:
        remedy = "Close other programs, raise the memory limit of this container"
    return f"{device} ran out of memory {weights}. {remedy}, or serve fewer or smaller bundles."


def bound_note(device: torch.device, bound_gib: float | None) -> str:
    """Returns what the bound means on this device, as the end of a sentence; "" where there is nothing to say."""
    if bound_gib is None:
        return ""
    if device.type == "cuda":
        return f", of which at most {bound_gib:g} GiB are used"
    return f"; {SETTING} has no effect on a CPU, where the memory limit of a container or service does"


def _up(count_bytes: int) -> float:
    """Returns GiB, rounded up to a tenth, so that a user who follows the advice is not refused again."""
    return math.ceil(count_bytes / GIB * 10) / 10
