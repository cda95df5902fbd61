"""`undegrade compare A B`: how far apart two pictures are."""

import math
from pathlib import Path
from typing import Annotated

import typer

from cli.batch import write_row
from cli.console import say, sentences, stdout
from cli.inputs import ENDINGS, Exists, place
from cli.side_by_side import side_by_side
from models.errors import ControlsError, PhotoError
from models.photo.read import Photo, format_of, read_photo
from models.photo.write import to_eight_bits, write_photo


def compare(
    a: Annotated[Path, typer.Argument(help="A photo.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Another of the same size, such as the ground truth.", metavar="B")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write A | B side by side.")] = None,
    exists: Annotated[Exists, typer.Option(help="What to do where that picture is already there.")] = Exists.SKIP,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a line.")] = False,
) -> None:
    """PSNR in dB and SSIM between two photos.

    Example: undegrade compare restored.png truth.png -o side.png
    """
    with sentences():
        if out is not None and format_of(out) is None:
            raise ControlsError(f"-o {out} is not a picture's name: expected an ending of {ENDINGS}.")
        first, second = read_photo(a), read_photo(b)
        sizes = [f"{photo.pixels.shape[1]} x {photo.pixels.shape[0]}" for photo in (first, second)]
        if sizes[0] != sizes[1]:
            raise PhotoError(f"{a} and {b} differ in size ({' and '.join(sizes)}). Scale one to the other first.")
        psnr_db, similarity = _figures(first, second)
        if as_json:  # JSON has no infinity
            write_row({"psnr_db": psnr_db if math.isfinite(psnr_db) else None, "ssim": similarity})
        else:
            near = "too small for SSIM" if similarity is None else f"SSIM {similarity:.4f}"
            stdout.print(f"PSNR {psnr_db:.2f} dB  {near}" if math.isfinite(psnr_db) else f"equal  {near}")
        if out is not None:
            _write(out, side_by_side(first, second), exists)


def _figures(first: Photo, second: Photo) -> tuple[float, float | None]:
    """PSNR in dB and SSIM (None below its window), in 16 bits where both have them."""
    from models.evaluation.psnr_ssim import WINDOW_PX, ssim
    from models.psnr import psnr

    deep = first.sixteen_bit and second.sixteen_bit
    left, right = (photo.pixels if deep else to_eight_bits(photo.pixels) for photo in (first, second))
    return psnr(left, right), ssim(left, right) if min(left.shape[:2]) >= WINDOW_PX else None


def _write(out: Path, picture: Photo, exists: Exists) -> None:
    target = place(out, exists)
    if target is None:
        say(f"{out} is already there, left as it is (--exists replace or rename)")
    else:
        write_photo(picture, target, format_of(target))
