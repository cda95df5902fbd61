"""Draws strips: input, modes, other tools and ground truth side by side, with scores and repairs in captions."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from models.evaluation.measurements import AUTO, Restoration, Row
from models.evaluation.pairs import Picture

CAPTION_PX, LINE_PX, GAP_PX, FONT_PX = 40, 18, 4, 14
INK, PAPER = (235, 235, 235), (24, 24, 24)


def write_strip(folder: Path, row: Row, pictures: Mapping[str, Picture]) -> Path:
    """Write TASK_NAME.png, or TASK_NAME_TOOL.png without our modes; `pictures` have one size and are drawn in order."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = Path(row.name).with_suffix("").as_posix().replace("/", "_")
    # a tool that was added later is drawn without our modes, so it must not overwrite the strip that has them
    joined = "" if AUTO in pictures else "".join(f"_{name}" for name in pictures if name in row.runs)
    path = folder / f"{row.task}_{stem}{joined}.png"
    # lossless, because JPEG would change the details to inspect (grain, blocks, color fringes)
    strip(row, pictures).save(path)
    return path


def strip(row: Row, pictures: Mapping[str, Picture]) -> Image.Image:
    """Returns the pictures in a row, unscaled, with a two-line caption above each."""
    height, width = next(iter(pictures.values())).shape[:2]
    row_image = Image.new("RGB", (len(pictures) * (width + GAP_PX) - GAP_PX, height + CAPTION_PX), PAPER)
    draw, font = ImageDraw.Draw(row_image), ImageFont.load_default(FONT_PX)
    for index, (name, picture) in enumerate(pictures.items()):
        left = index * (width + GAP_PX)
        for line, text in enumerate(caption(row, name)):
            draw.text((left + 2, 2 + line * LINE_PX), _cut_to_width(text, width, font), fill=INK, font=font)
        row_image.paste(Image.fromarray(picture), (left, CAPTION_PX))
    return row_image


def caption(row: Row, name: str) -> tuple[str, str]:
    """Returns two lines: the name with its scores, and the label with the repairs."""
    run = row.runs.get(name)
    if run is not None:
        return f"{name}  {_scores(run.scores)}{_gain(row, name)}".rstrip(), _restoration_text(run)
    if name == "input":
        return f"input  {_scores(row.scores)}".rstrip(), f"{row.subset}: {row.expected or 'no label'}"
    return name, f"{row.width_px}x{row.height_px}"


def _scores(scores: Mapping[str, float]) -> str:
    return f"{scores['psnr']:.2f} dB  {scores['ssim']:.3f}" if "psnr" in scores else ""


def _gain(row: Row, mode: str) -> str:
    gain = row.psnr_gain_db(mode)
    return "" if gain is None else f"  ({gain:+.2f})"


def _restoration_text(run: Restoration) -> str:
    seconds = "" if run.seconds is None else f"{run.seconds:.1f} s"
    if not run.found:  # another tool reports no labels
        return run.error or seconds
    repaired = ", ".join(run.repaired) or "nothing"
    return f"{run.label} {run.found[run.label]:.0%}; repaired {repaired}; {run.stop_reason}; {seconds}"


def _cut_to_width(text: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Returns the text, cut to the width of its picture."""
    while text and font.getlength(text) > width_px - 4:
        text = text[:-1]
    return text
