"""Names of results that are known only when the photo has been read: an extension may not be that of the content."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cli.console import print_message, print_warning, refuse_binary_on_terminal
from cli.inputs import IfExists, OutputPlan, PhotoPaths, fitting, is_in_place, numbered
from models.errors import ControlsError, PhotoError
from models.photo.read import FORMATS, Photo, format_of

SHOWN_NAMES = 5


class ResultNames:
    """The results of one run.  No two photos share one."""

    def __init__(self, photos: Sequence[PhotoPaths]) -> None:
        self._taken = {paths.target for paths in photos}

    def after_reading(self, paths: PhotoPaths, photo: Photo, wanted: str | None) -> PhotoPaths:
        """Returns the paths with a result whose extension is one of its format's.

        Args:
            wanted: the format of --format, which the planned name has already.
        """
        target = paths.target
        if target is None or paths.named or wanted is not None or format_of(target) == photo.format:
            return paths
        if is_in_place(paths):
            print_warning(f"{paths.name} is a {photo.format.upper()} file in spite of its extension; its name is kept")
            return paths
        stem = target.name.removesuffix(Path(paths.name).suffix)  # without one, "in.restored" is all stem
        renamed = fitting(target.parent, stem, FORMATS[photo.format][0])
        if renamed in self._taken:
            renamed = next(path for path in numbered(renamed) if path not in self._taken)
        self._taken.add(renamed)
        if Path(paths.name).suffix:
            print_warning(f"{paths.name} is a {photo.format.upper()} file in spite of its extension")
        return replace(paths, target=renamed)


def result_format(paths: PhotoPaths, photo: Photo, wanted: str | None) -> str:
    """Returns the format to write: that of --format, else of the name that the user chose, else of the photo."""
    by_name = format_of(paths.target) if paths.named and paths.target is not None else None
    return wanted or by_name or photo.format


def first_result(paths: PhotoPaths, variants: int) -> PhotoPaths:
    """Returns the paths with the first result that is written: with several variants, that of number 1."""
    return paths if variants == 1 else variant_result(paths, 1)


def variant_result(paths: PhotoPaths, number: int) -> PhotoPaths:
    """Returns the paths with the result of one of several variants, NAME-1.EXT, NAME-2.EXT, ..."""
    target = paths.target
    if target is None:
        return paths
    return replace(paths, target=fitting(target.parent, target.stem, f"-{number}{target.suffix}"))


def check_stdout(photos: Sequence[PhotoPaths], *, compare: bool, as_json: bool, variants: int) -> None:
    """Refuse options that would write to stdout, or beside it, when a result goes there.

    Raises:
        ControlsError: --json, --variants or --compare with a result on stdout, or stdout is a terminal.
    """
    if all(paths.target is not None for paths in photos):
        return
    if as_json:
        raise ControlsError("--json and the photo would both go to stdout. Give -o a file.")
    if variants > 1:
        raise ControlsError("--variants writes several photos, but the result goes to stdout. Give -o a file.")
    if compare:
        raise ControlsError("--compare writes a file beside the result, but the result goes to stdout. Give -o a file.")
    refuse_binary_on_terminal("the photo")


def already_done(paths: PhotoPaths, exists: IfExists) -> bool:
    """Returns whether the result exists and is to be kept; prints so."""
    if exists is IfExists.SKIP and paths.target is not None and os.path.lexists(paths.target):
        print_message(f"{paths.name}: {paths.target} already exists, skipped (use --exists replace or rename)")
        return True
    return False


def refuse_loss_in_place(paths: PhotoPaths, photo: Photo, exists: IfExists) -> None:
    """Refuse to replace an input by a result that holds less than it, such as one page of several.

    Raises:
        PhotoError: the result would lose something for good.
    """
    if photo.losses and exists is IfExists.REPLACE and is_in_place(paths):
        raise PhotoError(
            f"{paths.name} is not replaced, because the result would lack {', '.join(photo.losses)}. "
            "Give -o another file or folder."
        )


def report_renamed(photos: Sequence[PhotoPaths]) -> None:
    """Say which results have a number, because another photo has their name."""
    for paths in photos:
        if paths.shared_name:
            print_message(f"{paths.name} is written to {paths.target}: another photo has its name")


def print_batch_summary(plan: OutputPlan, *, restored: int, skipped: int, failed: int) -> None:
    """Print what became of a run over several photos, and everything that was left out of it."""
    if len(plan.photos) + len(plan.missing) > 1 or plan.left_out:
        print_message(f"{restored} restored, {skipped} skipped, {failed} failed")
    print_left_out(plan.left_out)


def print_left_out(left_out: Mapping[str, Sequence[str]]) -> None:
    """Print, for each reason, how many files were left out, and the first of them."""
    for reason, names in left_out.items():
        more = f", and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
        print_message(f"{len(names)} left out ({reason}): {', '.join(sorted(names)[:SHOWN_NAMES])}{more}")
