"""`undegrade compare`: measure how far apart two images are."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json_line, print_message, stdout
from cli.exit_codes import exit_on_error
from cli.inputs import EXTENSIONS, IfExists, output_path
from cli.side_by_side import side_by_side
from models.errors import ControlsError, PhotoError
from models.photo.atomic_write import write_atomically
from models.photo.read import Photo, format_of, read_photo
from models.photo.write import encode_photo, to_eight_bits


def compare(
    a: Annotated[Path, typer.Argument(help="A photo.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="A photo of the same size, such as the ground truth.", metavar="B")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Also write A and B side by side to this file.")
    ] = None,
    exists: Annotated[IfExists, typer.Option(help="What to do if that file exists.")] = IfExists.SKIP,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of text.")] = False,
) -> None:
    """Measure PSNR in dB and SSIM between two photos of the same size.

    Example: undegrade compare restored.png truth.png -o side.png
    """
    with exit_on_error():
        if out is not None and format_of(out) is None:
            raise ControlsError(f"-o {out} is not the name of a photo: expected an extension of {EXTENSIONS}.")
        first, second = read_photo(a), read_photo(b)
        sizes = [f"{photo.pixels.shape[1]} x {photo.pixels.shape[0]}" for photo in (first, second)]
        if sizes[0] != sizes[1]:
            raise PhotoError(f"{a} and {b} differ in size ({' and '.join(sizes)}). Scale one of them first.")
        psnr_db, similarity = _measure(first, second)
        if as_json:  # JSON has no infinity
            print_json_line({"psnr_db": psnr_db if math.isfinite(psnr_db) else None, "ssim": similarity})
        else:
            ssim_text = "too small for SSIM" if similarity is None else f"SSIM {similarity:.4f}"
            stdout.print(f"PSNR {psnr_db:.2f} dB  {ssim_text}" if math.isfinite(psnr_db) else f"equal  {ssim_text}")
        if out is not None:
            _write(out, side_by_side(first, second), exists, sources=[a, b])


def _measure(first: Photo, second: Photo) -> tuple[float, float | None]:
    """Returns PSNR in dB and SSIM (None below its window), on 16-bit values if both photos have them."""
    from models.evaluation.ssim import WINDOW_PX, ssim
    from models.psnr import psnr

    both_deep = first.sixteen_bit and second.sixteen_bit
    left, right = (photo.pixels if both_deep else to_eight_bits(photo.pixels) for photo in (first, second))
    return psnr(left, right), ssim(left, right) if min(left.shape[:2]) >= WINDOW_PX else None


def _write(out: Path, image: Photo, exists: IfExists, sources: Sequence[Path]) -> None:
    path = output_path(out, exists)
    if path is None:
        print_message(f"{out} already exists, kept (use --exists replace or rename)")
    else:
        write_atomically(path, encode_photo(image, format_of(path)), sources)
