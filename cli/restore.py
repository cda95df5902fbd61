"""`undegrade restore`: restore photos in this process, without a server."""

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from cli.bundle_loading import bundle_labels, load_bundle
from cli.exit_codes import exit_if_any_failed, exit_on_error, print_failures
from cli.inputs import IfExists, plan_outputs
from cli.options import ApiKeyFile, Bundle, Device, Photos, Server
from cli.prompts import check_prompt
from cli.provenance import chosen_provenance
from cli.restore_run import OutputOptions, RestoreRun, RunOutcome
from cli.result_names import already_done, check_stdout, first_result, print_batch_summary, report_renamed
from models.control_text import parse_crop, parse_strength
from models.controls import Controls
from models.errors import ControlsError
from models.photo.provenance import Policy
from models.photo.read import FORMATS, format_of
from models.presets import PresetName, preset_values
from models.vocabulary import names


class Compare(StrEnum):
    """How before and after are shown."""

    SIDE = "side"


def restore(
    context: typer.Context,
    inputs: Photos,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            help="Output file, output folder, or - for stdout. Default: NAME.restored.EXT beside the input.",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="What to repair, in your own words, such as 'get rid of the grain'; one pass for each repair. "
            "In ten languages."
        ),
    ] = None,
    best_effort: Annotated[
        bool,
        typer.Option(
            "--best-effort", help="Do what can be done of --prompt, or the most similar repair, instead of refusing it."
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Repair only these degradations. Repeat the option, or separate names with commas."),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(help="Never repair these degradations. Repeat the option, or separate names with commas."),
    ] = None,
    strength: Annotated[
        str | None,
        typer.Option(
            metavar="S",
            help="How much of the restoration to apply, from 0 (the input, unchanged) to 1 (all of it); or a share for "
            "each degradation, such as noise=0.3,haze=1. Default: the preset's, or else 1.",
        ),
    ] = None,
    preset: Annotated[
        PresetName,
        typer.Option(help="A set of values for the other options, which win: auto, faithful, strong or preview."),
    ] = "auto",
    scale: Annotated[int, typer.Option(help="Enlarge both sides 2 or 4 times before, and repair low resolution.")] = 1,
    crop: Annotated[
        str | None, typer.Option(help="x,y,width,height in pixels of the upright photo: restore only this part.")
    ] = None,
    variants: Annotated[
        int, typer.Option(help="Write up to 4 results, NAME-1, NAME-2, ..., with the seeds SEED, SEED + 1, ...")
    ] = 1,
    fidelity: Annotated[
        float | None,
        typer.Option(
            help="Weight of the correction network, 0 to 1; 1 stays closest to the input. Default: the bundle's."
        ),
    ] = None,
    color_fix: Annotated[
        bool,
        typer.Option("--color-fix", help="Give each color channel the mean and the contrast that it has in the input."),
    ] = False,
    max_passes: Annotated[
        int | None, typer.Option(help="Maximum number of passes (repairs in a row). Default: the bundle's.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps per pass. Default: the bundle's.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed. On one device, the same seed gives the same bytes.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Run the published loop exactly, without undegrade's safeguards.")
    ] = False,
    device: Device = None,
    bundle: Bundle = None,
    photo_format: Annotated[
        str | None, typer.Option("--format", help=f"Output format: {', '.join(FORMATS)}. Default: the input's.")
    ] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Quality of lossy formats. Default: depends on the format.")
    ] = None,
    compare: Annotated[
        Compare | None, typer.Option(help="Also write NAME.compare.png, with before and after side by side.")
    ] = None,
    provenance: Annotated[
        Policy | None,
        typer.Option(help="How to mark results: off, xmp or c2pa. Default: UNDEGRADE_PROVENANCE, or else xmp."),
    ] = None,
    exists: Annotated[IfExists, typer.Option(help="What to do if the output file exists.")] = IfExists.SKIP,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON report for each photo, one per line.")] = False,
    server: Server = None,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Find out what is wrong with photos, and repair it.

    Examples:

      undegrade restore photo.jpg

      undegrade restore holiday/ -o restored/ --exists replace

      undegrade restore night.jpg --prompt "too dark" -o bright.jpg --compare side

      undegrade restore small.jpg --scale 2 --strength noise=0.5,low-resolution=1
    """
    with exit_on_error():
        if prompt is not None and not prompt.strip():
            raise ControlsError("--prompt is empty. Say what to repair, or leave the option out.")
        photo_format = _known_format(photo_format)
        if server is not None:
            from cli.remote_restore import restore_remotely

            restore_remotely(context, photo_format)
            return
        only_names, skip_names = names(_split_names("only", only)), names(_split_names("skip", skip))
        given = {
            "strength": None if strength is None else parse_strength(strength), "fidelity": fidelity,
            "max_passes": max_passes, "steps": steps,
        }  # fmt: skip
        given = {name: value for name, value in given.items() if value is not None}
        controls = Controls(
            prompt=prompt, best_effort=best_effort, only=only_names, skip=skip_names, color_fix=color_fix, seed=seed,
            strict=strict,
            preset=preset, scale=scale, crop=None if crop is None else parse_crop(crop), variants=variants,
            **{**preset_values(preset, given), **given},  # type: ignore[arg-type]
        )  # fmt: skip
        plan = plan_outputs(inputs, out, photo_format, exists)
        check_stdout(plan.photos, compare=compare is not None, as_json=as_json, variants=variants)
        report_renamed(plan.photos)
        photos = [paths for paths in plan.photos if not already_done(first_result(paths, variants), exists)]
        outcome = RunOutcome(skipped=len(plan.photos) - len(photos))
        failures = print_failures(plan.missing, as_json=as_json)
        if photos:
            output = OutputOptions(
                format=photo_format, quality=quality, compare=compare is not None, exists=exists, as_json=as_json,
                provenance=chosen_provenance(provenance),
            )  # fmt: skip
            check_prompt(bundle, controls)
            name, version, credit = bundle_labels(bundle)
            run = RestoreRun(
                restorer=load_bundle(bundle, device), controls=controls, output=output, bundle=name,
                bundle_version=version, credit=credit,
            )  # fmt: skip
            ran = run.run(photos)
            failures += ran.failures
            outcome = replace(ran, skipped=outcome.skipped + ran.skipped)
        print_batch_summary(plan, restored=outcome.restored, skipped=outcome.skipped, failed=len(failures))
    exit_if_any_failed(failures, len(plan.photos) + len(plan.missing))


def _split_names(option: str, values: list[str] | None) -> list[str]:
    """Returns the names of an option that is repeated or has commas.  `--only "$UNSET"` must not mean all of them."""
    split = [name.strip() for value in values or [] for name in value.split(",") if name.strip()]
    if values and not split:
        raise ControlsError(f"--{option} is empty. Name a degradation, or leave the option out.")
    return split


def _known_format(name: str | None) -> str | None:
    """Returns the format for a name or a file extension, such as jpeg or jpg."""
    if name is None:
        return None
    known = name.lower() if name.lower() in FORMATS else format_of(f"x.{name}")
    if known is None:
        raise ControlsError(f"got --format {name!r}, expected one of {', '.join(FORMATS)}.")
    return known
