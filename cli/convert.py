"""`undegrade models convert|check`: the authors' checkpoints become bundles, and prove it number by number."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cli.console import Exit, is_terminal, print_table, say, sentences, stderr
from models.errors import ControlsError

if TYPE_CHECKING:
    from models.convert.bundle_writer import OnProgress


class Family(StrEnum):
    """Whose checkpoints they are."""

    AUTODIR = "autodir"
    DACLIP = "daclip"
    DACLIP_WILD = "daclip-wild"
    ETDIFFIR = "etdiffir"


class Kind(StrEnum):
    """What a checkpoint holds: a whole system, or one network of one."""

    AUTODIR = "autodir"
    DACLIP = "daclip"
    UNET = "unet"
    WILD = "wild"
    ERUNET = "erunet"
    NAFNET = "nafnet"


class Dtype(StrEnum):
    """How the weights are stored."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def convert(
    family: Annotated[Family, typer.Argument(metavar="FAMILY", help=f"Whose they are: {', '.join(Family)}.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="The authors' files, such as autodir.ckpt.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle's folder; must not be there yet.")],
    dtype: Annotated[Dtype, typer.Option(help="How the weights are stored; float32 is exact.")] = Dtype.FLOAT16,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="You have read the terms that the command prints.")
    ] = False,
) -> None:
    """Convert checkpoints as their authors released them into a bundle.

    Examples:

      undegrade models convert autodir autodir.ckpt --out bundles/autodir --accept-license

      undegrade models convert daclip daclip_ViT-B-32.pt universal-ir.pth --out bundles/daclip
    """
    with sentences():
        from models.convert.license import TERMS

        terms = TERMS[family]
        say(terms.text)
        if terms.to_accept and not accept_license:
            raise ControlsError("these terms want your word. Give --accept-license to go on.")
        from models.convert.bundle_writer import DTYPES
        from models.convert.commands import CONVERTERS  # from here on torch, which takes seconds to load

        with _bar(f"converting {', '.join(file.name for file in files)}") as on_progress:
            manifest = CONVERTERS[family](files, out, DTYPES[dtype], on_progress)
        size = sum(file.bytes for file in manifest.files.values()) / 2**20
        say(f"{out}: {size:.1f} MiB in {len(manifest.files)} files. Try it: undegrade restore PHOTO --bundle {out}")


def check(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"What the checkpoint holds: {', '.join(Kind)}.")],
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="The authors' file, such as universal-ir.pth.")],
    vectors: Annotated[Path, typer.Argument(metavar="VECTORS_DIR", help="A folder of the authors' modules' answers.")],
) -> None:
    """Convert a checkpoint, load it, and compare it with what the authors' modules answered; exit 1 on any miss.

    Examples:

      undegrade models check autodir random_autodir.ckpt ../shared/parity/autodir

      undegrade models check unet random_uir.pth ../shared/parity/daclip
    """
    with sentences():
        from models.convert.commands import CHECKERS

        rows, absent = [], []
        with _bar(f"checking {checkpoint.name}") as on_progress:
            for found in CHECKERS[kind](checkpoint, vectors, on_progress):
                if isinstance(found, str):
                    absent.append(found)
                else:
                    rows.append(found)
        table = Table("tensors", "max abs", "max rel", "tolerance", "verdict")
        for row in rows:
            table.add_row(row.group, f"{row.absolute:.1e}", f"{row.relative:.1e}", row.tolerance_text, row.verdict)
        print_table(table)
        for name in absent:
            say(f"{name} is not there, skipped")
        missed = [row.group for row in rows if not row.ok]
        say(f"{len(rows) - len(missed)} of {len(rows)} groups within tolerance")
    if missed:
        say(f"missed: {', '.join(missed)}")
        raise typer.Exit(Exit.SOME_FAILED)


@contextmanager
def _bar(title: str) -> "Iterator[OnProgress]":
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not is_terminal()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
