"""`undegrade doctor`: check whether this machine can restore photos, and say what to do if it cannot."""

import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from cli.console import print_table
from cli.doctor_speed import check_speed
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import RedisUrl
from cli.settings import settings, unknown_settings
from processes.memory_limits import memory

NEEDED_MEMORY_GIB = 2.0
"""For a photo of a few megapixels, with weights and libraries."""


class CheckFailed(Exception):
    """What is wrong, and what to do about it."""


@dataclass(frozen=True)
class Check:
    """One check.  `run` returns the details or raises; `code` is the exit code of a failure."""

    name: str
    run: Callable[[], str]
    code: ExitCode = ExitCode.MODEL


class Warned(str):
    """The details of a check that found something to mend, but nothing that fails."""


def doctor(redis_url: RedisUrl = None) -> None:
    """Check Python, libraries, device, bundle, memory, disk, settings and Redis, and say how to fix problems.

    Example: undegrade doctor
    """
    table, codes = Table("check", "result", "details"), []
    with exit_on_error():
        for check in (*CHECKS, Check("redis", lambda: _redis(redis_url), ExitCode.SERVER)):
            try:
                details = check.run()
                result = Text("warning", style="yellow") if isinstance(details, Warned) else Text("ok")
                table.add_row(check.name, result, Text(details))
            except Exception as error:  # one broken check must not hide the others
                codes.append(check.code)
                table.add_row(check.name, Text("FAILED", style="red"), Text(str(error) or type(error).__name__))
        print_table(table)
    if codes:
        raise typer.Exit(codes[0])


def _python() -> str:
    return f"Python {platform.python_version()} on {platform.platform()}"


def _torch() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        raise CheckFailed(f"torch does not load ({error}). Install undegrade again: pip install .") from error
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads"


def _torchvision() -> str:
    from models.networks.torchvision_mend import mend_torchvision

    try:
        mend_torchvision()
        import open_clip
        import torchvision
        from torchvision.extension import _has_ops
    except (ImportError, OSError, RuntimeError) as error:
        raise CheckFailed(
            f"torchvision does not load with this torch ({error}). Install a matching pair: pip install ."
        ) from error
    note = "" if _has_ops() else "; its C++ operators do not match this torch, but undegrade does not need them"
    return f"torchvision {torchvision.__version__}, open_clip {open_clip.__version__}{note}"


def _device() -> str:
    from models.device import choose_device
    from models.device_facts import device_facts

    chosen = choose_device(settings().device)
    bound_gib = settings().device_memory_gib
    if chosen.device.type != "cuda":
        ignored = "; UNDEGRADE_DEVICE_MEMORY_GIB has no effect on a CPU" if bound_gib else ""
        return f"{chosen.device}, {chosen.why}{ignored}"
    bound = f", of which at most {bound_gib:g} GiB are used" if bound_gib else ""
    facts = device_facts(chosen.device)
    driver = f", driver {facts.driver}" if facts.driver else ""
    return f"{chosen.device}, {chosen.why}{driver}, {facts.total_bytes / 2**30:.1f} GiB{bound}"


def _bundle() -> str:
    from models.bundle import find_bundle, manifest_sha256, verify_bundle

    bundle = find_bundle(settings().default_bundle)
    verify_bundle(bundle)
    return f"{bundle}: all files match the manifest, whose sha256 is {manifest_sha256(bundle)}"


def _networks() -> str:
    import torch

    from models.bundle import find_bundle
    from models.families import load_restorer

    names = load_restorer(find_bundle(settings().default_bundle), torch.device("cpu")).names
    return f"the weights load; repairs {', '.join(names)}"


def _memory() -> str:
    here = memory()
    free_gib = here.available_bytes / 2**30
    if free_gib < NEEDED_MEMORY_GIB:
        raise CheckFailed(
            f"{free_gib:.1f} GiB of memory free, expected at least {NEEDED_MEMORY_GIB:g}. "
            "Close other programs, or raise the memory limit of this container."
        )
    limit = f", of the {here.limit_bytes / 2**30:.1f} GiB that this container may use" if here.limit_bytes else ""
    return f"{free_gib:.1f} GiB of memory free{limit}"


def _disk() -> str:
    folder = Path.cwd()
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            free_gb = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        raise CheckFailed(f"{folder} is not writable ({error.strerror}). Give -o a folder that is.") from error
    return f"{folder} is writable, {free_gb:.0f} GB free"


def _settings() -> str:
    if unknown := unknown_settings():
        raise CheckFailed(" ".join(unknown))
    return "no unknown UNDEGRADE_ variable"


def _redis(url: str | None) -> str:
    from cli.redis_check import check_redis

    details, warned = check_redis(url)
    return Warned(details) if warned else details


CHECKS = (
    Check("python", _python),
    Check("torch", _torch),
    Check("torchvision", _torchvision),
    Check("device", _device, ExitCode.DEVICE),
    Check("bundle", _bundle),
    Check("networks", _networks),
    Check("speed", check_speed),
    Check("memory", _memory, ExitCode.DEVICE),
    Check("disk", _disk, ExitCode.SOME_FAILED),
    Check("settings", _settings, ExitCode.USAGE),
)
