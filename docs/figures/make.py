"""`make figures`: restore the sample photographs with the command and lay them out as the README's picture."""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("undegrade")
EXAMPLES = HERE.parents[1] / "examples"
SAMPLES = ("cat-dark-noisy", "raccoon-noisy", "photographer-rainy")
ROW_PX = 300
GAP_PX = 8
WHITE = (255, 255, 255)


def restored(folder: Path) -> list[Path]:
    """Run the command itself, with nothing but its defaults, and return where it put the results."""
    photos = [EXAMPLES / f"{name}.jpg" for name in SAMPLES]
    command = [str(COMMAND), "restore", *map(str, photos), "-o", f"{folder}/"]
    subprocess.run(command, check=True)
    return [folder / photo.name for photo in photos]


def pair(before: Image.Image, after: Image.Image) -> Image.Image:
    """The two side by side, `ROW_PX` high."""
    width = round(before.width * ROW_PX / before.height)
    picture = Image.new("RGB", (2 * width + GAP_PX, ROW_PX), WHITE)
    for column, image in enumerate((before, after)):
        shrunk = image.convert("RGB").resize((width, ROW_PX), Image.Resampling.LANCZOS)
        picture.paste(shrunk, (column * (width + GAP_PX), 0))
    return picture


def stack(rows: list[Image.Image]) -> Image.Image:
    """Rows below each other, each in the middle."""
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height + GAP_PX for row in rows) - GAP_PX), WHITE)
    top = 0
    for row in rows:
        sheet.paste(row, ((width - row.width) // 2, top))
        top += row.height + GAP_PX
    return sheet


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = restored(Path(folder))
        befores = [Image.open(EXAMPLES / f"{name}.jpg") for name in SAMPLES]
        rows = [pair(before, Image.open(result)) for before, result in zip(befores, results, strict=True)]
    stack(rows).save(HERE / "before-after.webp", quality=82, method=6)


if __name__ == "__main__":
    main()
