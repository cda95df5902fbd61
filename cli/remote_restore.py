"""`undegrade restore --server URL`: the same command, but a server does the work.

Options that are not about files on this machine are sent as they were given.  The server knows which it has, and its
words refuse the others.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from cli.console import print_error, print_failure
from cli.exit_codes import ExitCode, exit_code_for, exit_if_any_failed, exit_on_error, print_failures
from cli.inputs import IfExists, OutputPlan, PhotoPaths, is_in_place, plan_outputs, read_input
from cli.progress import progress_bar
from cli.remote_result import RemoteResults
from cli.result_names import already_done, first_result, print_batch_summary, refuse_loss_in_place, report_renamed
from cli.settings import debug_enabled, settings
from models.errors import ControlsError, ModelsError
from models.photo.read import format_of
from undegrade_client import (
    ApiError,
    AuthenticationError,
    Client,
    ConfigurationError,
    ConnectionFailed,
    InputError,
    InvalidRequest,
    JobFailed,
    PermissionDenied,
    QuotaError,
    ServerError,
    UndegradeError,
    UnexpectedAnswer,
)

LOCAL = {"inputs", "out", "compare", "exists", "as_json", "photo_format", "server", "api_key_file", "seed"}
"""Parameters that are not sent as they are."""
JOBS = 4
"""Photos that are under way at once: enough to hide the network, and few enough for a small server."""
FIRST_ANSWER_S, OUTAGE_S = 20.0, 120.0


def restore_remotely(context: typer.Context, photo_format: str | None) -> None:
    """Restore the photos of this call of `undegrade restore` by a server.

    Args:
        photo_format: of --format, checked.

    Raises:
        typer.Exit: with the exit code, always.
    """
    given: Mapping[str, Any] = context.params
    exists, as_json = IfExists(given["exists"]), bool(given["as_json"])
    with exit_on_error(), _exit_on_server_error():
        plan = plan_outputs(given["inputs"], given["out"], photo_format, exists)
        results = RemoteResults(
            photos=plan.photos, photo_format=photo_format, exists=exists, as_json=as_json,
            compare=given["compare"] is not None, crop=given.get("crop"), variants=given["variants"],
        )  # fmt: skip
        results.check_stdout()
        report_renamed(plan.photos)
        photos = [paths for paths in plan.photos if not already_done(first_result(paths, given["variants"]), exists)]
        results.skipped = len(plan.photos) - len(photos)
        failures = print_failures(plan.missing, as_json=as_json)
        if photos:
            options = _sent_options(context) | _format_option(plan, photo_format)
            with Client(given["server"], _api_key(given["api_key_file"]), timeout_s=None, outage_s=OUTAGE_S) as client:
                client.limits(timeout_s=FIRST_ANSWER_S)  # the URL and the key are right, before any photo travels
                failures += _run(client, photos, options, results)
        print_batch_summary(plan, restored=results.restored, skipped=results.skipped, failed=len(failures))
    exit_if_any_failed(failures, len(plan.photos) + len(plan.missing))


def _sent_options(context: typer.Context) -> dict[str, Any]:
    """Returns the options that were given, by the names of the API's fields; as without a server, the seed is 0."""
    sent: dict[str, Any] = {"seed": context.params["seed"]}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name not in LOCAL and source is not None and source.name != "DEFAULT":
            if isinstance(value, list) and not any(word.strip(", ") for word in value):  # as `--only "$UNSET"`
                raise ControlsError(f"--{name} is empty. Name a degradation, or leave the option out.")
            sent[name] = value
    return sent


def _format_option(plan: OutputPlan, photo_format: str | None) -> dict[str, Any]:
    """Returns the format: that of --format, else of the name that the user chose, else none: the photo's own."""
    named = [format_of(paths.target) for paths in plan.photos if paths.named and paths.target is not None]
    wanted = photo_format or (named[0] if named else None)
    return {"format": wanted} if wanted else {}


def _api_key(file: Path | None) -> str | None:
    """Returns the key of the file, else of UNDEGRADE_API_KEY; without both, None."""
    if file is None:
        return settings().api_key
    try:
        key = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ControlsError(f"cannot read --api-key-file {file}: {reason}.") from error
    if not key:
        raise ControlsError(f"--api-key-file {file} is empty. Write the API key into it.")
    return key


def _run(client: Client, photos: list[PhotoPaths], options: dict[str, Any], results: RemoteResults) -> list[ExitCode]:
    """Restore the photos, several at once, and write the results in their order.  Returns the codes of failures."""
    failures: list[ExitCode] = []
    ready = [paths for paths in photos if _may_replace(paths, results, failures)]
    with progress_bar(MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("restoring", total=len(ready))
        outcomes = client.map(
            results.images(ready), jobs=JOBS, on_error="return", **options,
            progress=lambda done, total: bar.update(task, completed=done),
        )  # fmt: skip
        for paths, outcome in zip(ready, outcomes, strict=True):
            try:
                if isinstance(outcome, UndegradeError):
                    raise outcome
                results.take(paths, outcome)
            except (UndegradeError, ModelsError) as error:
                if _concerns_all(error):
                    raise
                failures.append(exit_code_of(error))
                words = str(error) if paths.name in str(error) else f"{paths.name}: {error}"
                print_failure(paths.name, words, as_json=results.as_json)
    return failures


def _may_replace(paths: PhotoPaths, results: RemoteResults, failures: list[ExitCode]) -> bool:
    """Returns False, and reports it, for a photo that would be replaced by a result that holds less than it."""
    if results.exists is IfExists.REPLACE and is_in_place(paths):
        try:
            refuse_loss_in_place(paths, read_input(paths.source), results.exists)
        except ModelsError as error:
            failures.append(exit_code_for(error))
            print_failure(paths.name, str(error), as_json=results.as_json)
            return False
    return True


def _concerns_all(error: Exception) -> bool:
    """Returns whether every other photo would fail alike."""
    kinds = (AuthenticationError, PermissionDenied, InvalidRequest, ConfigurationError, ControlsError)
    return isinstance(error, kinds) and not isinstance(error, JobFailed)


def exit_code_of(error: Exception) -> ExitCode:
    """Returns the exit code for an error of the client, or of a file on this machine."""
    if isinstance(error, JobFailed):
        codes = {
            "out-of-memory": ExitCode.DEVICE, "bad-controls": ExitCode.USAGE, "prompt-not-understood": ExitCode.USAGE,
            "no-such-bundle": ExitCode.MODEL,
        }  # fmt: skip
        return codes.get(error.code, ExitCode.SOME_FAILED)
    if isinstance(error, ConfigurationError | InvalidRequest):
        return ExitCode.USAGE
    away = (AuthenticationError, PermissionDenied, QuotaError, ServerError, ConnectionFailed, UnexpectedAnswer)
    if isinstance(error, away):
        return ExitCode.SERVER
    return ExitCode.SOME_FAILED if isinstance(error, ApiError | InputError) else exit_code_for(error)


@contextmanager
def _exit_on_server_error() -> Iterator[None]:
    try:
        yield
    except UndegradeError as error:
        if debug_enabled():
            raise
        print_error(str(error))
        raise typer.Exit(exit_code_of(error)) from None
