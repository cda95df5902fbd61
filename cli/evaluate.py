"""`undegrade evaluate`: measure a bundle on pairs laid out as TASK/lq/NAME and TASK/gt/NAME."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import print_error, print_message
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import Bundle, Device
from cli.settings import settings

if TYPE_CHECKING:  # torch takes seconds to load; --help must not wait for it
    from models.evaluation.comparison import Comparison
    from models.evaluation.report import Report

MIXTURES, TILES_PX = 2, 192
"""What --all takes for --mixtures and --tiles."""


def evaluate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of TASK/lq/NAME and TASK/gt/NAME.")],
    bundle: Bundle = None,
    device: Device = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for rows and reports. Default: evaluation/BUNDLE-HASH.")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="Measure only these tasks. Repeat the option, or separate names with commas."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of pairs per subset.")] = None,
    clean: Annotated[int, typer.Option(min=0, help="Number of ground-truth images to test as clean photos.")] = 20,
    crop: Annotated[
        int, typer.Option(min=0, help="Largest side of the center crops in pixels; 0 measures whole images.")
    ] = 512,
    told: Annotated[
        bool, typer.Option(help="Also restore each image with its actual degradation as the prompt.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for every image.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps per pass. Default: the bundle's.")] = None,
    max_passes: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of passes. Default: the bundle's.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SOURCE",
            help="Another tool to compare with: a folder of its results, or a command with {input} and {output}. "
            "Repeat the option for several tools.",
        ),
    ] = None,
    against_timeout: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds after which such a command is stopped.")
    ] = 600.0,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="Also measure lpips, dists, clip-iqa, musiq or fid, if their weights are installed. "
            "Repeat the option, or separate names with commas."
        ),
    ] = None,
    turns: Annotated[
        bool, typer.Option("--turns", help="Also restore each image turned by 90, 180 and 270 degrees.")
    ] = False,
    mixtures: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Also restore N clean images with each of ten mixtures of two kinds of synthetic damage.",
        ),
    ] = 0,
    tiles: Annotated[
        int | None,
        typer.Option(
            min=64, metavar="PX", help="Also restore each image in tiles of this side, and compare their brightness."
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="The same as --turns --mixtures 2 --tiles 192, unless you give other numbers."),
    ] = False,
    pictures: Annotated[
        Path | None, typer.Option(help="Write input, results and truth of each pair side by side into this folder.")
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="REPORT", help="An earlier report.json: show the changes; exit code 1 if a subset is worse."
        ),
    ] = None,
    max_loss: Annotated[
        float, typer.Option(min=0, metavar="DB", help="Loss in dB that --compare allows per subset.")
    ] = 0.1,
    table: Annotated[
        Path | None, typer.Option(help="Also write the Markdown report to this file; in a folder, under a dated name.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: UNDEGRADE_THREADS, or else all cores.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Delete the rows in --out, and measure again.")] = False,
) -> None:
    """Measure a bundle on pairs of damaged and clean images.

    Measures PSNR, SSIM, labels, grids, passes and seconds, and writes a table and three reports.

    An interrupted run continues when you run the same command again.

    Example: undegrade evaluate ../shared/eval --tasks denoise,derain --limit 2
    """
    with exit_on_error():
        from cli.evaluate_run import EvaluationOptions, measure, open_session, print_report, summarize, write_reports
        from models.controls import Controls
        from models.evaluation import comparison
        from models.evaluation.derived import mixed_pairs, turned_pairs
        from models.evaluation.other_tools import parse_other_tools, refuse_unrelated_folders
        from models.evaluation.pairs import clean_pairs, find_pairs
        from models.evaluation.perceptual import parse_metric_names
        from models.evaluation.report import read_report

        task_names = [name for value in tasks or [] for name in value.split(",") if name]
        earlier = read_report(compare) if compare is not None else None
        damaged = find_pairs(directory, task_names, limit)
        others = parse_other_tools(against or [], against_timeout)
        refuse_unrelated_folders(others, damaged)
        turns, mixtures, tiles = (
            (True, mixtures or MIXTURES, tiles or TILES_PX) if everything else (turns, mixtures, tiles)
        )
        whole = find_pairs(directory, task_names)
        pairs = damaged + clean_pairs(whole, clean) + mixed_pairs(whole, mixtures, seed)
        pairs += turned_pairs(damaged) if turns else []
        if earlier is not None:
            comparison.refuse_incomparable(earlier, crop, [(pair.task, pair.name) for pair in pairs])
        _set_threads(threads)
        options = EvaluationOptions(
            bundle=bundle,
            device=device,
            out=out,
            crop_px=crop,
            controls=Controls(seed=seed, steps=steps, max_passes=max_passes),
            told=told,
            others=others,
            metrics=parse_metric_names(metrics or []),
            tile_px=tiles,
        )
        session = open_session(options, restart=restart)
        print_message(f"{len(pairs)} images · {session.description}")
        interrupted = measure(session, pairs, pictures)
        report = summarize(session, pairs)
        changes = comparison.compare(earlier, report, max_loss) if earlier is not None else None
        write_reports(session, report, changes, table)
        print_report(report, changes)
    if interrupted:
        print_message(f"interrupted; {len(report.rows)} of {len(pairs)} measured. Run the same command to continue.")
    failed = _print_problems(report, changes)
    raise typer.Exit(ExitCode.INTERRUPTED if interrupted else ExitCode.SOME_FAILED if failed else ExitCode.OK)


def _print_problems(report: "Report", changes: "Comparison | None") -> bool:
    """Print how many images failed and which subsets got worse.  Returns whether there are any."""
    errors, losses = report.summary.errors, [] if changes is None else changes.losses
    if errors:
        print_message(f"{len(errors)} failed; report.md lists them. Run the same command to try them again.")
    if losses:
        print_error(f"worse than the earlier report: {'; '.join(losses)}.")
    return bool(errors or losses)


def _set_threads(threads: int | None) -> None:
    count = threads or settings().threads
    if count:
        import torch

        torch.set_num_threads(count)
