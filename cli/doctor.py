"""`undegrade doctor`: is this machine fit to restore, and if not, what to do."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import typer
from rich.table import Table

from cli.settings import settings, unknown_settings
from cli.talk import Exit, sentences, stdout


def _python() -> str:
    return f"Python {platform.python_version()} on {platform.platform()}"


def _torch() -> str:
    import torch

    return f"torch {torch.__version__}, {torch.get_num_threads()} threads"


def _torchvision() -> str:
    from models.torchvision_mend import mend_torchvision

    mend_torchvision()
    import open_clip
    import torchvision

    return f"torchvision {torchvision.__version__}, open_clip {open_clip.__version__}"


def _device() -> str:
    from models.device import choose_device

    return choose_device(settings().device).why


def _bundle() -> str:
    from models.bundle import find_bundle, verify_bundle

    bundle = find_bundle(settings().bundle)
    verify_bundle(bundle)
    return f"{bundle.name}: every file as the manifest says"


def _memory() -> str:
    free_gib = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    if free_gib < 2:
        raise RuntimeError(f"{free_gib:.1f} GiB of memory free; restoring wants 2, close something")
    return f"{free_gib:.1f} GiB of memory free"


def _disk() -> str:
    with tempfile.NamedTemporaryFile(dir=Path.cwd()):
        return f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB free here, writable"


def _settings() -> str:
    if unknown := unknown_settings():
        raise RuntimeError(" ".join(unknown))
    return "no unknown UNDEGRADE_* variable"


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("python", _python), ("torch", _torch), ("torchvision", _torchvision), ("device", _device),
    ("bundle", _bundle), ("memory", _memory), ("disk", _disk), ("settings", _settings),
)  # fmt: skip


def doctor() -> None:
    """Check Python, torch, device, bundle, memory and disk; exit 3 if anything is wrong."""
    table, wrong = Table("check", "verdict", "what"), 0
    with sentences():
        for name, check in CHECKS:
            try:
                table.add_row(name, "ok", check())
            except Exception as error:  # a doctor reports every ailment, whatever its kind
                wrong += 1
                table.add_row(name, "WRONG", f"{error}")
        stdout.print(table)
    if wrong:
        raise typer.Exit(Exit.MODEL)
