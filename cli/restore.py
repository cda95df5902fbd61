"""`undegrade restore IN...`: restore photos in this process."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.batch import Batch, Output, report_failure
from cli.console import Exit, end, refuse_terminal, say, sentences
from cli.inputs import Exists, Plan, Work, plan_work
from cli.session import open_restorer
from models.errors import ControlsError
from models.photo.read import FORMATS, format_of
from models.vocabulary import names


class Compare(StrEnum):
    """How before and after are shown."""

    SIDE = "side"


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
    color_fix: Annotated[bool, typer.Option("--color-fix", help="Keep the input's mean colors and contrast.")] = False,
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
    compare: Annotated[Compare | None, typer.Option(help="Also writes NAME.compare.png: before | after.")] = None,
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
        if prompt is not None and not prompt.strip():
            raise ControlsError("--prompt is empty. Say what to repair, or leave it out.")
        kind = _known_format(kind)
        only_names, skip_names = names(_words("only", only)), names(_words("skip", skip))
        plan = plan_work(inputs, out, kind, exists)
        _check_stdout(plan, compare=compare is not None, as_json=as_json)
        work = [entry for entry in plan.work if not _finished(entry, exists)]
        failures = _report_missing(plan, as_json=as_json)
        if work:
            from models.restorer import Controls  # from here on torch, which takes seconds to load

            controls = Controls(
                prompt=prompt, only=only_names, skip=skip_names, strength=strength, fidelity=fidelity,
                color_fix=color_fix, max_passes=max_passes, steps=steps, seed=seed, strict=strict,
            )  # fmt: skip
            output = Output(kind=kind, quality=quality, compare=compare is not None, exists=exists, as_json=as_json)
            failures += Batch(restorer=open_restorer(bundle, device), controls=controls, output=output).run(work)
    end(failures, len(plan.work) + len(plan.missing))


def _words(option: str, values: list[str] | None) -> list[str]:
    """The words of an option that is repeated or has commas; `--only "$UNSET"` does not mean all of them."""
    words = [word.strip() for value in values or [] for word in value.split(",") if word.strip()]
    if values and not words:
        raise ControlsError(f"--{option} is empty. Name a degradation, or leave it out.")
    return words


def _known_format(kind: str | None) -> str | None:
    if kind is None:
        return None
    known = kind.lower() if kind.lower() in FORMATS else format_of(f"x.{kind}")
    if known is None:
        raise ControlsError(f"got --format {kind!r}, expected one of {', '.join(FORMATS)}.")
    return known


def _check_stdout(plan: Plan, *, compare: bool, as_json: bool) -> None:
    """Where a result goes to stdout, nothing else may."""
    if all(entry.target is not None for entry in plan.work):
        return
    if as_json:
        raise ControlsError("--json and the photo would both go to stdout. Give -o a file.")
    if compare:
        raise ControlsError("--compare writes a picture beside the result, which goes to stdout. Give -o a file.")
    refuse_terminal("the photo")


def _finished(work: Work, exists: Exists) -> bool:
    """Whether a rerun may leave this photo alone, and says so."""
    if exists is Exists.SKIP and work.target is not None and work.target.exists():
        say(f"{work.name}: {work.target} is already there, skipped (--exists replace or rename)")
        return True
    return False


def _report_missing(plan: Plan, *, as_json: bool) -> list[Exit]:
    for word, sentence in plan.missing.items():
        report_failure(word, sentence, as_json=as_json)
    return [Exit.SOME_FAILED] * len(plan.missing)
