"""The exit codes of the command, and how errors and failed photos become one."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum

import typer

from cli.console import print_error, print_failure, print_message
from cli.listening import ListenError
from cli.settings import debug_enabled
from jobs.errors import StoreError, UnknownName
from models.errors import (
    BundleError,
    ControlsError,
    DeviceError,
    ModelsError,
    PhotoError,
    ProvenanceError,
    TrainingError,
)


class ExitCode(IntEnum):
    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    MODEL = 3
    DEVICE = 4
    SERVER = 5
    INTERRUPTED = 130


EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "success",
    ExitCode.SOME_FAILED: "some photos failed, a comparison got worse, or a part is not ready",
    ExitCode.USAGE: "usage error",
    ExitCode.MODEL: "bundle missing or damaged",
    ExitCode.DEVICE: "device missing or out of memory",
    ExitCode.SERVER: "server or network error",
    ExitCode.INTERRUPTED: "interrupted",
}


PACKAGES_OF_WORKER = ("torch", "torchvision", "open_clip", "diffusers", "safetensors")
"""Top-level modules of the extra `worker` in pyproject.toml."""
CODES_OF_ERRORS: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (PhotoError, ExitCode.SOME_FAILED), (BundleError, ExitCode.MODEL), (DeviceError, ExitCode.DEVICE),
    (MemoryError, ExitCode.DEVICE), (ControlsError, ExitCode.USAGE), (ProvenanceError, ExitCode.USAGE),
    (TrainingError, ExitCode.USAGE), (ModelsError, ExitCode.MODEL),
)  # fmt: skip
"""The first class that matches wins."""


def exit_code_for(error: BaseException) -> ExitCode:
    """Returns the exit code for an error that ends the command."""
    return next((code for kind, code in CODES_OF_ERRORS if isinstance(error, kind)), ExitCode.SOME_FAILED)


def exit_if_any_failed(failures: list[ExitCode], count: int) -> None:
    """End a run over `count` photos: with the common exit code if all failed alike, else with SOME_FAILED.

    Raises:
        typer.Exit: `failures` is not empty.
    """
    if failures and count > 1:
        print_error(f"{len(failures)} of {count} photos failed")
    if failures:
        same_reason = len(failures) == count and len(set(failures)) == 1
        raise typer.Exit(failures[0] if same_reason else ExitCode.SOME_FAILED)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn an error into a message on stderr and an exit code.  UNDEGRADE_DEBUG=1 shows the traceback instead."""
    try:
        yield
    except KeyboardInterrupt:
        print_message("interrupted; finished files are kept, and no partial file is left")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except ModelsError as error:
        if debug_enabled():
            raise
        print_error(str(error))
        raise typer.Exit(exit_code_for(error)) from None
    except UnknownName as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.USAGE) from None
    except ModuleNotFoundError as error:
        if debug_enabled() or error.name not in PACKAGES_OF_WORKER:
            raise
        print_error(
            f"this command needs {error.name}, which is not installed here: the API runs without it. "
            "Install undegrade[worker], or use the image of the worker."
        )
        raise typer.Exit(ExitCode.USAGE) from None
    except StoreError as error:
        if debug_enabled():
            raise
        print_error(f"{str(error).rstrip('.')}. Check --store-url or UNDEGRADE_STORE_URL.")
        raise typer.Exit(ExitCode.USAGE) from None
    except ListenError as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.SERVER) from None
    except OSError as error:
        if debug_enabled() or error.errno == errno.EPIPE:  # the reader of the pipe is gone; typer ends quietly
            raise
        print_error(f"cannot use {error.filename or 'standard input or output'}: {error.strerror or error}.")
        raise typer.Exit(exit_code_for(error)) from None


def print_failures(messages: Mapping[str, str], *, as_json: bool) -> list[ExitCode]:
    """Report several inputs that failed, by name.  Returns an exit code for each."""
    for name, message in messages.items():
        print_failure(name, message, as_json=as_json)
    return [ExitCode.SOME_FAILED] * len(messages)
