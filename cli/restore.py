"""`undegrade restore IN...`: restore photos in this process."""

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.inputs import Exists, Work, free_name, plan_work
from cli.session import open_restorer
from cli.talk import Exit, complain, is_terminal, say, sentences, stderr, warn
from models.errors import ControlsError, ModelsError

if TYPE_CHECKING:
    from models.loop import Progress as Where
    from models.photo import Photo
    from models.restorer import Controls, Report, Restorer


class Watch:
    """A bar on a terminal (image, pass, step); a line an image elsewhere."""

    def __init__(self, count: int) -> None:
        self.count, self.done = count, 0
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
            console=stderr, transient=True, disable=not is_terminal(),
        )  # fmt: skip
        self.task: TaskID = self.bar.add_task("", total=1.0)

    def at(self, name: str, where: "Where") -> None:
        tiles = f" tile {where.tile + 1}/{where.tiles}" if where.tiles > 1 else ""
        self.bar.update(
            self.task,
            completed=where.fraction,
            description=f"[{self.done + 1}/{self.count}] {Path(name).name} pass {where.pass_index + 1}{tiles} "
            f"step {where.step}/{where.steps}",
        )


def restore(
    inputs: Annotated[list[str], typer.Argument(help="Photos, folders or globs; - reads stdin.", metavar="IN...")],
    out: Annotated[
        str | None, typer.Option("-o", "--out", help="A file, a folder, or - for stdout; default: beside the input.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help='What to repair, in your words: "get rid of the grain".')] = None,
    only: Annotated[list[str] | None, typer.Option(help="Consider only these; repeat it or use commas.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Never repair these.")] = None,
    strength: Annotated[float, typer.Option(help="0 returns the input pixel for pixel, 1 all of it.")] = 1.0,
    fidelity: Annotated[float | None, typer.Option(help="SCM weight w; 1 stays closest to the input.")] = None,
    max_passes: Annotated[int | None, typer.Option(help="At most so many repairs, one after the other.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps a pass.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes on one device.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="The published loop, without safeguards.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    bundle: Annotated[str | None, typer.Option(help="A bundle's name or folder.")] = None,
    kind: Annotated[
        str | None, typer.Option("--format", help="jpeg, png, webp, tiff or avif; default: the input's.")
    ] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="Of lossy formats.")] = None,
    compare: Annotated[str | None, typer.Option(help='"side" also writes NAME.compare.png: before | after.')] = None,
    exists: Annotated[Exists, typer.Option(help="What to do where the result is already there.")] = Exists.SKIP,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON report a line for each photo on stdout.")] = False,
) -> None:
    """Find out what is wrong with photos and repair it.

    Examples:

      undegrade restore photo.jpg

      undegrade restore holiday/ -o restored/ --exists replace

      undegrade restore night.jpg --prompt "too dark" -o bright.jpg --compare side
    """
    with sentences():
        from models.restorer import Controls

        kind = _known_format(kind, compare)
        controls = Controls(
            prompt=prompt, only=_words(only), skip=_words(skip), strength=strength, fidelity=fidelity,
            max_passes=max_passes, steps=steps, seed=seed, strict=strict,
        )  # fmt: skip
        work = [entry for entry in plan_work(inputs, out, kind) if not _finished(entry, exists)]
        if not work:
            return
        if as_json and any(entry.target is None for entry in work):
            raise ControlsError("--json and -o - both write to stdout; give -o a file")
        restorer = open_restorer(bundle, device)
        failed = _run(restorer, controls, work, kind, quality, compare, exists, as_json)
    if failed:
        complain(f"{failed} of {len(work)} photos failed")
        raise typer.Exit(Exit.SOME_FAILED)


def _words(options: list[str] | None) -> tuple[str, ...]:
    return tuple(word.strip() for option in options or [] for word in option.split(",") if word.strip())


def _known_format(kind: str | None, compare: str | None) -> str | None:
    from models.photo import FORMATS, format_of

    if compare not in (None, "side"):
        raise ControlsError(f"got --compare {compare!r}, expected side")
    if kind is None:
        return None
    known = kind.lower() if kind.lower() in FORMATS else format_of(f"x.{kind}")
    if known is None:
        raise ControlsError(f"got --format {kind!r}, expected one of {', '.join(FORMATS)}")
    return known


def _finished(work: Work, exists: Exists) -> bool:
    """Whether a rerun may leave this photo alone, and says so."""
    if exists is Exists.SKIP and work.target is not None and work.target.exists():
        say(f"{work.name}: {work.target} is already there, skipped (--exists replace or rename)")
        return True
    return False


def _run(
    restorer: "Restorer", controls: "Controls", work: list[Work], kind: str | None, quality: int | None,
    compare: str | None, exists: Exists, as_json: bool,
) -> int:  # fmt: skip
    """Restore each photo; how many failed.  A photo that fails does so alone."""
    failed, watch = 0, Watch(len(work))
    with watch.bar:
        for entry in work:
            started_s = time.monotonic()
            try:
                report, written = _restore(restorer, controls, entry, kind, quality, compare, exists, watch)
            except ControlsError:
                raise  # wrong for every photo
            except ModelsError as error:
                failed += 1
                complain(str(error))
            else:
                say(f"{entry.name} -> {written or 'stdout'}: {summary(report)} ({time.monotonic() - started_s:.1f} s)")
                if as_json:
                    row = {"input": entry.name, "output": str(written), **asdict(report)}
                    sys.stdout.write(json.dumps(row) + "\n")
            watch.done += 1
    return failed


def _restore(
    restorer: "Restorer", controls: "Controls", work: Work, kind: str | None, quality: int | None,
    compare: str | None, exists: Exists, watch: Watch,
) -> tuple["Report", Path | None]:  # fmt: skip
    from models.images import to_pixels, to_tensor
    from models.loop import restore_one
    from models.photo import format_of, read_photo
    from models.photo_write import encode_photo, write_photo, write_whole
    from models.restorer import Request

    photo = read_photo(work.source if work.source else sys.stdin.buffer.read())
    for note in photo.warnings:
        warn(note)
    request = Request(image=to_tensor(photo.pixels), controls=controls)
    result = restore_one(restorer, request, lambda where: watch.at(work.name, where))
    restored = replace(photo, pixels=to_pixels(result.image, photo.pixels.dtype.type))
    if work.target is None:
        sys.stdout.buffer.write(encode_photo(restored, kind, quality))
        sys.stdout.buffer.flush()
        return result.report, None
    target = free_name(work.target) if exists is Exists.RENAME else work.target
    write_photo(restored, target, kind or format_of(target), quality)
    if compare:
        side = side_by_side(photo, restored)
        write_whole(target.with_name(f"{target.stem}.compare.png"), encode_photo(side, "png"))
    return result.report, target


def side_by_side(before: "Photo", after: "Photo") -> "Photo":
    """Before | after with a white line between, in 8 bits."""
    import numpy as np

    from models.photo import Photo
    from models.photo_write import eight_bits

    left, right = eight_bits(before.pixels), eight_bits(after.pixels)
    line = np.full((left.shape[0], 4, 3), 255, dtype=np.uint8)
    return Photo(pixels=np.concatenate([left, line, right], axis=1), format="png", icc=before.icc, grey=before.grey)


REASONS = {
    "clean": "now clean",
    "uncertain": "left alone where unsure",
    "did-not-help": "a pass that did not help was taken back",
    "max-passes": "passes used up",
    "prompt-done": "as asked",
    "nothing-left": "nothing left to consider",
    "strength-zero": "strength 0: the input",
}


def summary(report: "Report") -> str:
    """One line: what was found, what was repaired, why it stopped."""
    found = ", ".join(f"{name} {share:.0%}" for name, share in list(report.degradations.items())[:3] if share >= 0.05)
    repaired = ", ".join(report.labels) or "nothing"
    return f"found {found}; repaired {repaired}; {REASONS.get(report.stop_reason, report.stop_reason)}"
