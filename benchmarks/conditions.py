"""Shared by all benchmarks: the command-line parser, the header with the conditions, timing and peak memory."""

import argparse
import os
import platform
import resource
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

EVAL_SET = Path(__file__).parents[2] / "shared" / "eval"
"""The test pairs beside the checkout."""
NOISY_PHOTO = Path(__file__).parents[1] / "examples" / "raccoon-noisy.jpg"
CPU = torch.device("cpu")


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser that shows a module docstring, with its example, as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def header(*facts: object, device: torch.device = CPU) -> str:
    """Returns the first line of a result: machine, cores, threads, versions, then the facts of the benchmark."""
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    versions = f"torch {torch.__version__} · python {platform.python_version()}"
    return " · ".join([f"# {machine}", cores, versions, *map(str, facts)])


class Timer:
    """Measures a block: `wall_s`, and `cpu_s`, the CPU time of this process summed over its threads."""

    def __init__(self, device: torch.device = CPU) -> None:
        self._device = device
        self._wall_start_s = self._cpu_start_s = 0.0
        self.wall_s = self.cpu_s = 0.0

    def __enter__(self) -> Self:
        self._synchronize()
        self._wall_start_s, self._cpu_start_s = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._synchronize()
        self.wall_s, self.cpu_s = time.perf_counter() - self._wall_start_s, time.process_time() - self._cpu_start_s

    @property
    def seconds(self) -> float:
        """Wall time on CUDA; CPU time on a CPU, which other programs on the machine do not change."""
        return self.wall_s if self._device.type == "cuda" else self.cpu_s

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def peak_mib(device: torch.device = CPU) -> float:
    """Returns the peak memory of this process in MiB; on CUDA, that of torch on the device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux reports KiB
