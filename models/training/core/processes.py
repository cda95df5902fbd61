"""The processes of a training run: one, or several that torchrun started, each with its own device.

torchrun tells each process its number in environment variables, ends all of them when one dies, and passes Ctrl-C and
SIGTERM on.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from models.device import choose_device
from models.errors import TrainingError
from models.training.data.share import ALONE, Share, lost_process

PATIENCE = timedelta(hours=12)
"""How long a process waits for another.  torchrun notices a dead one at once, so this is only longer than every wait:
the first process decodes all photos and validates alone."""


@dataclass(frozen=True)
class Place:
    """The place of this process in the run; `local` counts the processes of this machine, and chooses the device."""

    share: Share = ALONE
    local: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Place":
        """Reads what torchrun tells its processes; without torchrun the process is alone."""
        count = int(environment.get("WORLD_SIZE", "1"))
        if count == 1 or "RANK" not in environment:
            return cls()
        return cls(Share(int(environment["RANK"]), count), int(environment.get("LOCAL_RANK", "0")))

    def device(self, name: str) -> torch.device:
        """Returns the device of this process: the one that is named, or with several processes one each.

        Raises:
            TrainingError: there are more processes than devices, or --device names one device for all processes.
            DeviceError: the device is not available.
        """
        if self.share.count == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return choose_device(name).device
        if ":" in name:
            raise TrainingError(
                f"got --device {name} for {self.share.count} processes. Each needs its own: use --device cuda, "
                "and CUDA_VISIBLE_DEVICES to choose some of the devices."
            )
        devices = torch.cuda.device_count()
        if self.local >= devices > 0:
            raise TrainingError(
                f"torchrun started more processes on this machine than it has CUDA devices ({devices}). "
                f"Use --nproc-per-node {devices}, or --device cpu."
            )
        return choose_device(f"cuda:{self.local}").device


@contextmanager
def connected(place: Place, device: torch.device) -> Iterator[None]:
    """Connect the processes within this block: gloo on a CPU, NCCL between CUDA devices.

    Raises:
        TrainingError: another process has ended.
    """
    if place.share.count == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if not lost_process(error, place.share):
            raise
        raise TrainingError(
            f"process {place.share.rank} of {place.share.count} ends, because another one has ended; the message of "
            "that one tells why"
        ) from error
    finally:
        dist.destroy_process_group()


@contextmanager
def first_alone(share: Share) -> Iterator[None]:
    """Run this block in the first process, and then in the others, which find its files (decoded photos)."""
    if not share.first:
        share.sums([0.0])
    yield
    if share.first:
        share.sums([0.0])
