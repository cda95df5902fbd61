"""`undegrade learn`: teach a bundle a new degradation from pairs of damaged and undamaged photos."""

import math
from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json_line, print_message, print_warning, stderr
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import Bundle, Device
from cli.settings import settings
from models.errors import ControlsError


def learn(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of lq/NAME (damaged) and gt/NAME (the same, undamaged).")
    ],
    name: Annotated[str, typer.Option(help="The name of the degradation: a plain word, such as banding.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new bundle; it must not exist.")],
    bundle: Bundle = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="Training time of the new specialist.")] = 15.0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps instead of --minutes; makes a run reproducible.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="The specialist to start with, or scratch. Default: the one that learns the pairs fastest."),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of good photos, which help to keep the other degradations. Repeat the option."),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="A folder of pairs to measure on. Default: a fifth of DIR's pairs.")
    ] = None,
    check: Annotated[bool, typer.Option(help="Refuse pairs that are shifted or do not show the same.")] = True,
    batch: Annotated[int, typer.Option(min=1, help="Crops in a training step.")] = 8,
    crop: Annotated[int, typer.Option(min=32, help="Side of the training crops in pixels.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: UNDEGRADE_THREADS, or else all cores.")
    ] = None,
    strict_system: Annotated[
        bool,
        typer.Option(
            "--strict-system",
            help="Also train AIR and SCM, which restore --strict uses: three times the time of --minutes.",
        ),
    ] = False,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
) -> None:
    """Teach a bundle a new degradation from a few pairs of photos.

    The new bundle repairs what the old one repairs, and the new degradation. Its folder has a card with measurements.

    An interrupted run continues when you run the same command again.

    Example: undegrade learn slides/ --name faded --bundle autodir-small --out my-bundle
    """
    with exit_on_error():
        import torch  # takes seconds to load: --help must not wait for it

        from models.bundle import find_bundle
        from models.device import choose_device
        from models.training.learn.plan import LearnPlan
        from models.training.learn.run import learn as run

        env = settings()
        if threads or env.threads:
            torch.set_num_threads(threads or env.threads)  # type: ignore[arg-type]
        if not math.isfinite(minutes):
            raise ControlsError("--minutes is not a finite number.")
        plan = LearnPlan(
            folder=directory, name=name, bundle=find_bundle(bundle or env.default_bundle), out=out, minutes=minutes,
            steps=steps, start=start, images=tuple(images or ()), test=test, check=check, batch=batch, crop_px=crop,
            seed=seed, strict_system=strict_system,
        )  # fmt: skip
        chosen = choose_device(device or env.device)
        try:
            report = run(plan, chosen.device, stderr, print_message)
        except KeyboardInterrupt:
            print_message(f"interrupted; run the same command again to continue ({plan.work} keeps what is done)")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json_line(report.as_json())
    after = report.after
    print_message(
        f"{out}: {name} {after.automatic - after.input:+.2f} dB on {after.pairs} pairs that it has not seen; "
        f"see {out / 'card.md'}"
    )
    if report.forgets:
        print_warning("the other degradations lost more than 1 % of their accuracy; add photos with --images")
