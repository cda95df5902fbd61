"""The check of `undegrade doctor` on CUDA graphs and torch.compile: on or off, why, and how to change it."""

from typing import TYPE_CHECKING

from cli.settings import settings

if TYPE_CHECKING:
    import torch

COMPILED_FAMILY = "autodir"
"""The family whose networks run as graphs, and can be compiled."""


def check_speed() -> str:
    """Returns one sentence about graphs, and one about compiled kernels."""
    from models.bundle import find_bundle, read_manifest
    from models.compiler import missing_compiler
    from models.device import choose_device
    from models.errors import ModelsError

    env = settings()
    try:
        family = read_manifest(find_bundle(env.default_bundle)).family
        device = choose_device(env.device).device
    except ModelsError:
        return "not known, because the device or the bundle cannot be used"
    if family != COMPILED_FAMILY:
        return f"CUDA graphs and torch.compile are off: the family {family} has neither, whatever the settings"
    missing = missing_compiler(device) if env.compile else None
    return f"{graphs_sentence(device, wanted=env.cuda_graphs)}; {compile_sentence(wanted=env.compile, missing=missing)}"


def graphs_sentence(device: "torch.device", *, wanted: bool) -> str:
    """Says whether the denoiser runs as CUDA graphs on this device."""
    if device.type != "cuda":
        return "CUDA graphs are off: they need a CUDA device"
    if not wanted:
        return "CUDA graphs are off: unset UNDEGRADE_CUDA_GRAPHS to switch them on"
    return "CUDA graphs are on (UNDEGRADE_CUDA_GRAPHS=false switches them off)"


def compile_sentence(*, wanted: bool, missing: str | None) -> str:
    """Says whether the denoiser is compiled; `missing` is what the machine lacks for it."""
    if not wanted:
        return "torch.compile is off, as by default (UNDEGRADE_COMPILE=true switches it on)"
    if missing is not None:
        return f"torch.compile is off, although UNDEGRADE_COMPILE is true: {missing}"
    return "torch.compile is on: each start takes minutes longer (UNDEGRADE_COMPILE=false switches it off)"
