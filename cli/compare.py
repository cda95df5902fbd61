"""`undegrade compare A B`: how far apart two pictures are."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.talk import sentences, stdout
from models.errors import PhotoError


def compare(
    a: Annotated[Path, typer.Argument(help="A photo.")],
    b: Annotated[Path, typer.Argument(help="Another one of the same size, such as the ground truth.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write A | B side by side as PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a line.")] = False,
) -> None:
    """PSNR in dB and SSIM between two photos.

    Example: undegrade compare restored.png truth.png -o side.png
    """
    with sentences():
        from cli.restore import side_by_side
        from models.evaluation.metrics import psnr, ssim
        from models.photo import read_photo
        from models.photo_write import eight_bits, encode_photo, write_whole

        first, second = read_photo(a), read_photo(b)
        if first.pixels.shape != second.pixels.shape:
            sizes = " and ".join(f"{photo.pixels.shape[1]} x {photo.pixels.shape[0]}" for photo in (first, second))
            raise PhotoError(f"{a} and {b} differ in size ({sizes}); scale one to the other first.")
        left, right = eight_bits(first.pixels), eight_bits(second.pixels)
        figures = {"psnr_db": psnr(left, right), "ssim": ssim(left, right) if min(left.shape[:2]) >= 11 else None}
        if out:
            write_whole(out, encode_photo(side_by_side(first, second), "png"))
        if as_json:
            sys.stdout.write(json.dumps(figures) + "\n")
        else:
            similarity = "too small for SSIM" if figures["ssim"] is None else f"SSIM {figures['ssim']:.4f}"
            stdout.print(f"PSNR {figures['psnr_db']:.2f} dB  {similarity}")
