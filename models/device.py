"""Which device a process runs on, how networks run there, and how tensors get there."""

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.errors import DeviceError


@dataclass(frozen=True)
class ChosenDevice:
    """An available device; `why` tells the user why it was chosen."""

    device: torch.device
    why: str


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The type of the weights of the large networks, and whether CUDA graphs and torch.compile are used.

    Only AutoDIR heeds it; DA-CLIP and ETDiffIR run in float32, without graphs, and are not compiled.
    """

    weights: Literal["float32", "float16", "bfloat16"] = "float32"
    graphs: bool = False
    compile: bool = False

    @classmethod
    def of(cls, device: torch.device, graphs: bool = True, compile: bool = False) -> "Speed":
        """The default of a device: weights in float32 on a CPU, half precision (as published) and graphs on CUDA."""
        if device.type == "cuda":
            return cls(weights="float16", graphs=graphs, compile=compile)
        return cls(compile=compile)

    @property
    def dtype(self) -> torch.dtype:
        types = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
        return types[self.weights]


def choose_device(name: str = "auto") -> ChosenDevice:
    """Returns the device that "cpu", "cuda" or "cuda:1" names; "auto" is the first CUDA device, else the CPU.

    Raises:
        DeviceError: the name is unknown, or CUDA is not available; the message says why.
    """
    if name == "auto":
        return _cuda(0, "auto: found") if torch.cuda.is_available() else _cpu(f"auto: {_no_cuda()}, so")
    if name == "cpu":
        return _cpu("asked for:")
    asked = re.fullmatch(r"cuda(?::(\d+))?", name)
    if asked is None:
        raise DeviceError(f"got device {name!r}, expected auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        remedy = "Use --device cpu, or install a CUDA build of torch and a driver."
        raise DeviceError(f"cannot run on {name}: {_no_cuda()}. {remedy}")
    index, count = int(asked[1] or 0), torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f"cannot run on {name}: the highest CUDA device is cuda:{count - 1}.")
    return _cuda(index, "asked for:")


CONTEXT_BYTES = 600 * 2**20
"""What CUDA's context and libraries take on a device beside torch's tensors."""


def bound_memory(device: torch.device, gib: float | None) -> None:
    """Let this process take at most so much of a CUDA device; a tensor beyond it raises torch.OutOfMemoryError."""
    if device.type == "cuda" and gib is not None:
        # Of a MIG slice, torch versions count the slice or the card; the larger figure never allows too much
        total_bytes = max(device_memory_bytes(device), torch.cuda.get_device_properties(device).total_memory)
        torch.cuda.set_per_process_memory_fraction(min(1.0, tensor_bytes(gib) / total_bytes), device)


def tensor_bytes(gib: float) -> int:
    """Returns how much of a bound is left for tensors, at least 1."""
    return max(1, int(gib * 2**30) - CONTEXT_BYTES)


def device_memory_bytes(device: torch.device) -> int:
    """Returns the memory of a CUDA device; of a MIG slice, the slice's own."""
    return int(torch.cuda.mem_get_info(device)[1])


def free_bytes(device: torch.device, gib: float | None) -> int:
    """Returns how much more memory of a CUDA device tensors of this process can take, within the bound."""
    allocated = torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - allocated
    return int(free if gib is None else max(0, min(free, tensor_bytes(gib) - allocated)))


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of any shape and type from host memory without waiting; where it is there already, returns it.

    A plain copy of pageable memory waits for all queued work, and the device is then idle until Python continues.  A
    copy from pinned memory joins the queue, and torch keeps the pinned block until the copy is done.
    """
    if device.type != "cuda" or host.is_cuda:
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


def _cuda(index: int, why: str) -> ChosenDevice:
    return ChosenDevice(torch.device("cuda", index), f"{why} {torch.cuda.get_device_name(index)}")


def _cpu(why: str) -> ChosenDevice:
    count = torch.get_num_threads()
    return ChosenDevice(torch.device("cpu"), f"{why} {count} CPU thread{'s' if count != 1 else ''}")


def _no_cuda() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} finds no CUDA driver or device"
