"""What operators want to know of a device: its name, its driver and its memory."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from models.device import device_memory_bytes
from processes.memory_limits import installed_bytes, memory

DRIVER_FILE = Path("/proc/driver/nvidia/version")
"""The kernel module's own words; containers see it, too."""


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """`name` and `driver` are "" on a CPU.

    `total_bytes`: the device's memory; on a CPU, the limit of the container, or else the machine's memory.
    """

    name: str
    driver: str
    total_bytes: int


def device_facts(device: torch.device) -> DeviceFacts:
    """Returns the facts of a device that can be used."""
    if device.type != "cuda":
        machine = installed_bytes()
        return DeviceFacts(name="", driver="", total_bytes=min(machine, memory().limit_bytes or machine))
    return DeviceFacts(
        name=torch.cuda.get_device_name(device), driver=driver_version(), total_bytes=device_memory_bytes(device)
    )


def driver_version(file: Path = DRIVER_FILE) -> str:
    """Returns the version of the NVIDIA driver, "" where the system does not tell it."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text())
    except OSError:
        return ""
    return found[1] if found else ""
