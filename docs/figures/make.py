"""Make the README's before/after picture: restore the sample photos with `undegrade restore` (`make figures`).

Example: python docs/figures/make.py
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

FIGURES = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("undegrade")
EXAMPLES = FIGURES.parents[1] / "examples"
SAMPLES = ("raccoon-hazy", "cat-noisy", "photographer-rainy")
ROW_PX = 300
GAP_PX = 8
WHITE = (255, 255, 255)


def restore_samples(folder: Path) -> list[Path]:
    """Run the command with its defaults and return the paths of the restored photos."""
    photos = [EXAMPLES / f"{name}.jpg" for name in SAMPLES]
    command = [str(COMMAND), "restore", *map(str, photos), "-o", f"{folder}/"]
    subprocess.run(command, check=True)
    return [folder / photo.name for photo in photos]


def side_by_side(before: Image.Image, after: Image.Image) -> Image.Image:
    """Returns the two photos in one row, `ROW_PX` high."""
    width = round(before.width * ROW_PX / before.height)
    row = Image.new("RGB", (2 * width + GAP_PX, ROW_PX), WHITE)
    for column, image in enumerate((before, after)):
        resized = image.convert("RGB").resize((width, ROW_PX), Image.Resampling.LANCZOS)
        row.paste(resized, (column * (width + GAP_PX), 0))
    return row


def stack(rows: list[Image.Image]) -> Image.Image:
    """Returns the rows below each other, centered."""
    width = max(row.width for row in rows)
    figure = Image.new("RGB", (width, sum(row.height + GAP_PX for row in rows) - GAP_PX), WHITE)
    top = 0
    for row in rows:
        figure.paste(row, ((width - row.width) // 2, top))
        top += row.height + GAP_PX
    return figure


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = restore_samples(Path(folder))
        originals = [Image.open(EXAMPLES / f"{name}.jpg") for name in SAMPLES]
        rows = [side_by_side(before, Image.open(after)) for before, after in zip(originals, results, strict=True)]
    stack(rows).save(FIGURES / "before-after.webp", quality=82, method=6)


if __name__ == "__main__":
    main()
