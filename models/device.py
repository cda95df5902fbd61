"""Which device a process runs on, and why."""

from dataclasses import dataclass

import torch

from models.errors import DeviceError


@dataclass(frozen=True)
class ChosenDevice:
    """A device that is there; `why` is for the user."""

    device: torch.device
    why: str


def choose_device(name: str = "auto") -> ChosenDevice:
    """ "auto" takes the first CUDA device, else the CPU; "cpu", "cuda" and "cuda:1" take what they name or fail.

    Raises:
        DeviceError: CUDA was asked for and is not there; the message says what is missing.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return ChosenDevice(torch.device("cuda:0"), f"auto: found {torch.cuda.get_device_name(0)}")
        return ChosenDevice(torch.device("cpu"), f"auto: {_no_cuda()}, so {torch.get_num_threads()} CPU threads")
    if name == "cpu":
        return ChosenDevice(torch.device("cpu"), f"asked for: {torch.get_num_threads()} CPU threads")
    kind, _, index = name.partition(":")
    if kind != "cuda" or not (index.isdigit() or not index):
        raise DeviceError(f"got device {name!r}, expected auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        remedy = "Use --device cpu, or install a CUDA build of torch and a driver."
        raise DeviceError(f"cannot run on {name}: {_no_cuda()}. {remedy}")
    if int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"cannot run on {name}: there are {torch.cuda.device_count()} CUDA devices, counted from 0.")
    return ChosenDevice(
        torch.device("cuda", int(index or 0)), f"asked for: {torch.cuda.get_device_name(int(index or 0))}"
    )


def _no_cuda() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} finds no CUDA driver or device"
