"""Which device a process runs on, and why."""

import re
from dataclasses import dataclass

import torch

from models.errors import DeviceError


@dataclass(frozen=True)
class ChosenDevice:
    """A device that is there; `why` is for the user."""

    device: torch.device
    why: str


def choose_device(name: str = "auto") -> ChosenDevice:
    """What "auto" finds (the first CUDA device, else the CPU), or what "cpu", "cuda" or "cuda:1" names.

    Raises:
        DeviceError: CUDA was asked for and is not there; the message says what is missing.
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


def _cuda(index: int, why: str) -> ChosenDevice:
    return ChosenDevice(torch.device("cuda", index), f"{why} {torch.cuda.get_device_name(index)}")


def _cpu(why: str) -> ChosenDevice:
    count = torch.get_num_threads()
    return ChosenDevice(torch.device("cpu"), f"{why} {count} CPU thread{'s' if count != 1 else ''}")


def _no_cuda() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} finds no CUDA driver or device"
