"""Draw docs/figures/grid.webp: a hazy wall with and without a grid, as they look and as their spectra.

Columns: input, result of the shipped bundle, truth.  Rows: the region with the strongest peak at four times its
contrast, and its spectrum (brightness: power in dB; rings: harmonics of 8 px).

Example: python docs/figures/make_grid.py ../shared/eval/dehaze revide_200001.jpg
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.bundle import find_bundle
from models.controls import Controls
from models.drive import restore_one
from models.evaluation.pairs import Picture, center_crop, read_picture
from models.evaluation.spectrum import flat_windows, peak_at, spectral_peak
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.restorer import Request
from models.vocabulary import degradation

SIDE_PX, SHOWN_PX, LINE_PX, CONTRAST = 128, 256, 22, 4
INK, PAPER, RING = (235, 235, 235), (24, 24, 24), (255, 140, 60)


def magnified(part: Picture) -> Image.Image:
    levels = part.astype(np.float64)
    contrasted = np.clip((levels - levels.mean(axis=(0, 1))) * CONTRAST + 128, 0, 255).astype(np.uint8)
    return Image.fromarray(contrasted).resize((SHOWN_PX, SHOWN_PX), Image.Resampling.NEAREST)


def spectrum(part: Picture) -> Image.Image:
    gray: NDArray[np.float64] = part.astype(np.float64).mean(axis=2)
    hann = np.hanning(SIDE_PX + 1)[:-1]
    power = np.abs(np.fft.fftshift(np.fft.fft2((gray - gray.mean()) * hann * hann[:, None]))) ** 2
    db = 10 * np.log10(power / power.size + 0.03) + 15
    shown = Image.fromarray(np.clip(db * 6, 0, 255).astype(np.uint8)).convert("RGB")
    shown = shown.resize((SHOWN_PX, SHOWN_PX), Image.Resampling.NEAREST)
    draw, scale = ImageDraw.Draw(shown), SHOWN_PX / SIDE_PX
    for y in range(0, SIDE_PX, SIDE_PX // 8):
        for x in range(0, SIDE_PX, SIDE_PX // 8):
            at = (x * scale + scale / 2, y * scale + scale / 2)
            if (x, y) != (SIDE_PX // 2, SIDE_PX // 2):
                draw.ellipse((at[0] - 6, at[1] - 6, at[0] + 6, at[1] + 6), outline=RING)
    return shown


def main(task: Path, name: str) -> None:
    before, truth = (center_crop(read_picture(task / part / name), 384) for part in ("lq", "gt"))
    request = Request(image=to_tensor(before), controls=Controls(prompt=degradation("haze").prompt))
    restorer = load_restorer(find_bundle("autodir-small"), torch.device("cpu"))
    after = to_pixels(restore_one(restorer, request).image).astype(np.uint8)
    flat = flat_windows(before) | flat_windows(truth)
    x, y = (
        min(max(center - SIDE_PX // 2, 0), length - SIDE_PX)
        for center, length in zip(peak_at(after, flat).center, after.shape[1::-1], strict=True)
    )
    page = Image.new("RGB", (3 * SHOWN_PX + 8, 2 * SHOWN_PX + 4 + LINE_PX), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for column, (name, picture) in enumerate((("input", before), ("result", after), ("truth", truth))):
        left, part = column * (SHOWN_PX + 4), picture[y : y + SIDE_PX, x : x + SIDE_PX]
        draw.text((left + 4, 2), f"{name}: peak {spectral_peak(picture, flat):.1f}", fill=INK, font=font)
        page.paste(magnified(part), (left, LINE_PX))
        page.paste(spectrum(part), (left, LINE_PX + SHOWN_PX + 4))
    page.save(Path(__file__).with_name("grid.webp"), quality=88, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
