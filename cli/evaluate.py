"""`undegrade evaluate DIR`: measure a bundle on pairs laid out as TASK/lq/NAME and TASK/gt/NAME."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import Exit, complain, say, sentences
from cli.settings import settings

if TYPE_CHECKING:  # torch loads in seconds; --help does not wait for it
    from models.evaluation.comparison import Comparison
    from models.evaluation.report import Report


def evaluate(
    directory: Annotated[Path, typer.Argument(help="A folder of TASK/lq/NAME and TASK/gt/NAME.", metavar="DIR")],
    bundle: Annotated[str | None, typer.Option(help="A bundle's name or folder; the shipped one by default.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where rows and reports go; evaluation/BUNDLE-HASH by default.")
    ] = None,
    tasks: Annotated[list[str] | None, typer.Option(help="Only these tasks; repeat, or separate by commas.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pairs of each subset.")] = None,
    clean: Annotated[int, typer.Option(min=0, help="So many ground truths as clean photographs.")] = 20,
    crop: Annotated[
        int, typer.Option(min=0, help="Center crops of at most so many px a side; 0 for whole pictures.")
    ] = 512,
    told: Annotated[bool, typer.Option(help="Also restore with the right degradation as the prompt.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="The noise of every picture.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps a pass.")] = None,
    max_passes: Annotated[int | None, typer.Option(min=1, help="At most so many passes.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WHAT",
            help="Another tool beside ours: a folder of its pictures, or a command with {input} and {output}. Repeat.",
        ),
    ] = None,
    against_timeout: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds after which such a command is stopped.")
    ] = 600.0,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="Also lpips, dists, clip-iqa, musiq or fid, where their weights are; repeat, or by commas."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Write input, modes and truth side by side into this folder.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="REPORT", help="An earlier report.json: show what changed; exit 1 if worse.")
    ] = None,
    max_loss: Annotated[
        float, typer.Option(min=0, metavar="DB", help="What a subset may lose against --compare.")
    ] = 0.1,
    table: Annotated[
        Path | None, typer.Option(help="Also write the markdown report there; into a folder, under a dated name.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the rows in --out and measure anew.")] = False,
) -> None:
    """Measure a bundle: PSNR, SSIM, labels, passes and seconds, automatic and told the task; a table and three reports.

    A stopped run goes on where it stopped when the same command is given again.

    Example: undegrade evaluate ../shared/eval --tasks denoise,derain --limit 2 --against mine=results/
    """
    with sentences():
        from cli.evaluate_run import Wish, measure, open_session, show, summed_up, write
        from models.evaluation import comparison
        from models.evaluation.other_tools import parse_other_tools, refuse_unrelated_folders
        from models.evaluation.pairs import clean_pairs, find_pairs
        from models.evaluation.perceptual import parse_metric_names
        from models.evaluation.report import read_report
        from models.restorer import Controls

        wanted = [task for entry in tasks or [] for task in entry.split(",") if task]
        old = read_report(compare) if compare is not None else None
        damaged = find_pairs(directory, wanted, limit)
        others = parse_other_tools(against or [], against_timeout)
        refuse_unrelated_folders(others, damaged)
        pairs = damaged + clean_pairs(find_pairs(directory, wanted), clean)
        if old is not None:
            comparison.refuse_incomparable(old, crop, [(pair.task, pair.name) for pair in pairs])
        _set_threads(threads)
        controls = Controls(seed=seed, steps=steps, max_passes=max_passes)
        wish = Wish(
            bundle=bundle,
            device=device,
            out=out,
            crop_px=crop,
            controls=controls,
            told=told,
            others=others,
            metrics=parse_metric_names(metrics or []),
        )
        session = open_session(wish, restart=restart)
        say(f"{len(pairs)} pictures · {session.sentence}")
        stopped = measure(session, pairs, pictures)
        report = summed_up(session, pairs)
        changes = comparison.compare(old, report, max_loss) if old is not None else None
        write(session, report, changes, table)
        show(report, changes)
    if stopped:
        say(f"Stopped; {len(report.rows)} of {len(pairs)} measured. The same command goes on from here.")
    trouble = _said_trouble(report, changes)
    raise typer.Exit(Exit.INTERRUPTED if stopped else Exit.SOME_FAILED if trouble else Exit.OK)


def _said_trouble(report: "Report", changes: "Comparison | None") -> bool:
    """Say which pictures failed and what got worse; whether there was any of it."""
    errors, losses = report.summary.errors, [] if changes is None else changes.losses
    if errors:
        say(f"{len(errors)} failed; report.md names them, and the same command tries them again.")
    if losses:
        complain(f"worse than the earlier report: {'; '.join(losses)}.")
    return bool(errors or losses)


def _set_threads(threads: int | None) -> None:
    wanted = threads or settings().threads
    if wanted:
        import torch

        torch.set_num_threads(wanted)
