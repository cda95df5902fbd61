"""`undegrade doctor`: is this machine fit to restore, and if not, what to do."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from cli.console import Exit, print_table, sentences
from cli.settings import settings, unknown_settings

MEMORY_GIB = 2.0
"""What a photo of a few megapixels takes, weights and libraries included."""


class Ailment(Exception):
    """What is wrong and what to do about it."""


@dataclass(frozen=True)
class Check:
    """One thing to look at; `code` is the exit code if it is wrong."""

    name: str
    look: Callable[[], str]
    code: Exit = Exit.MODEL


def doctor() -> None:
    """Check Python, torch, torchvision, device, bundle, memory, disk and settings, with a remedy for what is wrong.

    Example: undegrade doctor
    """
    table, codes = Table("check", "verdict", "what"), []
    with sentences():
        for check in CHECKS:
            try:
                table.add_row(check.name, "ok", Text(check.look()))
            except Exception as error:  # a doctor reports every ailment, whatever its kind
                codes.append(check.code)
                table.add_row(check.name, Text("WRONG", style="red"), Text(str(error) or type(error).__name__))
        print_table(table)
    if codes:
        raise typer.Exit(codes[0])


def _python() -> str:
    return f"Python {platform.python_version()} on {platform.platform()}"


def _torch() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        raise Ailment(f"torch does not load ({error}). Install undegrade again: pip install .") from error
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads"


def _torchvision() -> str:
    from models.networks.torchvision_mend import mend_torchvision

    try:
        mend_torchvision()
        import open_clip
        import torchvision
        from torchvision.extension import _has_ops
    except (ImportError, OSError, RuntimeError) as error:
        raise Ailment(
            f"torchvision does not load beside this torch ({error}). Install a matching pair: pip install ."
        ) from error
    state = "" if _has_ops() else "; its C++ operators do not fit this torch: mended, nothing here needs them"
    return f"torchvision {torchvision.__version__}, open_clip {open_clip.__version__}{state}"


def _device() -> str:
    from models.device import choose_device

    chosen = choose_device(settings().device)
    return f"{chosen.device}, {chosen.why}"


def _bundle() -> str:
    from models.bundle import find_bundle, verify_bundle

    bundle = find_bundle(settings().default_bundle)
    verify_bundle(bundle)
    return f"{bundle}: every file is as the manifest says"


def _networks() -> str:
    import torch

    from models.bundle import find_bundle
    from models.families import load_restorer

    names = load_restorer(find_bundle(settings().default_bundle), torch.device("cpu")).names
    return f"the weights fit; repairs {', '.join(names)}"


def _memory() -> str:
    free_gib = _free_bytes() / 2**30
    if free_gib < MEMORY_GIB:
        raise Ailment(
            f"{free_gib:.1f} GiB of memory free, restoring wants {MEMORY_GIB:g}. "
            "Close other programs, or raise this container's limit."
        )
    return f"{free_gib:.1f} GiB of memory free"


MEMINFO = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")


def _free_bytes() -> int:
    """What a new process may take: free and reclaimable memory, at most what a container's limit leaves."""
    if MEMINFO.exists():
        fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    else:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS tells no more than what is built in
    limit, used = CONTAINER / "memory.max", CONTAINER / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def _disk() -> str:
    here = Path.cwd()
    try:
        with tempfile.NamedTemporaryFile(dir=here):
            free_gib = shutil.disk_usage(here).free / 2**30
    except OSError as error:
        raise Ailment(f"{here} cannot be written to ({error.strerror}). Give -o a folder that can.") from error
    return f"{here} is writable, {free_gib:.0f} GiB free"


def _settings() -> str:
    if unknown := unknown_settings():
        raise Ailment(" ".join(unknown))
    return "no unknown UNDEGRADE_ variable"


CHECKS = (
    Check("python", _python),
    Check("torch", _torch),
    Check("torchvision", _torchvision),
    Check("device", _device, Exit.DEVICE),
    Check("bundle", _bundle),
    Check("networks", _networks),
    Check("memory", _memory, Exit.DEVICE),
    Check("disk", _disk, Exit.SOME_FAILED),
    Check("settings", _settings, Exit.USAGE),
)
