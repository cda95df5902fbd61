"""torch.compile for a network: kernels for any shape, which are made once, before the first image.

A compilation takes a minute and more, which no job should wait for.  So a network is compiled for two batches when it
is loaded, of two images and of one, with sizes that stay variables; all later shapes run on those kernels.  A shape
that would need another compilation runs on the plain network.

Shapes:  any; the functions take and return tensors on one device.
"""

import os
import shutil
import sysconfig
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import structlog
import torch
from torch import Tensor

log = structlog.get_logger()

Function = Callable[..., Tensor]
SETTING = "UNDEGRADE_COMPILE"


class CompiledNetwork:
    """A function of tensors with its compiled kernels; see `compiled`."""

    def __init__(self, function: Function) -> None:
        self._compiled = torch.compile(function, dynamic=True, fullgraph=True)

    @torch.inference_mode()
    def build(self, *inputs: Tensor) -> None:
        """Compile for the number of dimensions, types and memory layout of these inputs."""
        self._compiled(*_plain_layout(inputs))

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Tensor:
        with torch.compiler.set_stance("eager_on_recompile"):  # no job waits for a compilation
            output: Tensor = self._compiled(*_plain_layout(inputs))
        return output

    @torch.inference_mode()
    def serves(self, *inputs: Tensor) -> bool:
        """Returns whether the kernels that exist fit inputs like these."""
        try:
            with torch.compiler.set_stance("fail_on_recompile"):
                self._compiled(*_plain_layout(inputs))
        except RuntimeError:
            return False
        return True


def compiled(function: Function, examples: Sequence[Sequence[Tensor]], device: torch.device) -> CompiledNetwork | None:
    """Returns the function with kernels for inputs like each of the examples; None where that fails, with the reason
    in the log.

    Of an example only dimensions, types and whether the batch is 1 matter.  Two sizes of one example should differ:
    equal ones are taken to be always equal.
    """
    start_s = time.monotonic()
    why = missing_compiler(device)
    if why is None:
        network = CompiledNetwork(function)
        try:
            for example in examples:
                network.build(*example)
        except Exception as error:  # compiling fails in many ways, and the plain network serves all requests
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            why = f"{type(error).__name__}: {' '.join(lines[:2])}"  # the first often says only that a backend failed
        else:
            log.info("network.compiled", seconds=round(time.monotonic() - start_s, 1))
            return network
    log.warning("network.not-compiled", why=why, remedy=f"{SETTING}=false stops the attempts; results are the same")
    return None


def missing_compiler(device: torch.device) -> str | None:
    """Returns what torch.compile lacks on this machine for such a device, and how to get it; None if nothing.

    On a CPU torch makes C++; on CUDA triton makes the kernels, and C to start them.
    """
    cuda = device.type == "cuda"
    if cuda and find_spec("triton") is None:
        return "triton is not installed. Install a CUDA build of torch, which brings it."
    variable, names, package = ("CC", ("gcc", "clang", "cc"), "gcc") if cuda else ("CXX", ("g++",), "g++")
    asked = os.environ.get(variable)
    if not any(shutil.which(name) for name in ([asked] if asked else names)):
        found = f"{variable}={asked} is not a program" if asked else f"found none of {', '.join(names)}"
        return f"torch.compile needs a compiler, but {found}. Install {package}, or set {variable} to a compiler."
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return f"torch.compile needs Python's C headers, but {headers} has none. Install python3-dev."
    return None


def _plain_layout(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Returns inference tensors in one memory layout: kernels hold for one kind of tensor only.

    Call it in inference mode.
    """
    plain = torch.contiguous_format
    return [value.contiguous() if value.is_inference() else value.clone(memory_format=plain) for value in inputs]
