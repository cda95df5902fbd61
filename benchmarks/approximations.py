"""What each saving costs in quality on the shipped bundle: PSNR to the clean picture and to the unhurried one.

Crops of TASK/lq and TASK/gt below --eval are restored with one prompted pass each; the prompt names the task's
degradation.  "calls" are rows of the U-Net a picture, "seconds" are of CPU work (set OMP_NUM_THREADS=1).
"""

import argparse
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image

from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle
from models.drive import restore_one
from models.evaluation.pairs import Picture
from models.families import load_restorer
from models.pixels import Pixels, to_pixels, to_tensor
from models.psnr import psnr
from models.restorer import Controls, Request

TASKS = {
    "denoise": "remove the noise", "derain": "remove the rain", "dehaze": "remove the haze",
    "lowlight": "brighten this dark photo", "deblur": "remove the blur", "jpeg": "remove the jpeg artifacts",
}  # fmt: skip
CROP_PX = 192


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Words of the bundle's loop and of the user's."""

    name: str
    loop: dict[str, str | int | float] = field(default_factory=dict)
    controls: dict[str, int | float] = field(default_factory=dict)


GUIDED = {"text_guidance": 3.0, "image_guidance": 1.5, "steps": 8}
PLAIN = (
    Variant(name="DDIM, 4 steps, 999 to 800", controls={"steps": 4}),
    Variant(name="DDIM, 2 steps", controls={"steps": 2}),
    Variant(name="DDIM, 8 steps", controls={"steps": 8}),
    Variant(name="DPM-Solver++ 2M, 4 steps", loop={"sampler": "dpm++2m"}, controls={"steps": 4}),
    Variant(name="DPM-Solver++ 2M, 2 steps", loop={"sampler": "dpm++2m"}, controls={"steps": 2}),
    Variant(name="depths at every 2nd of 4 steps", loop={"cache_every": 2}, controls={"steps": 4}),
    Variant(name="depths at every 2nd of 8 steps", loop={"cache_every": 2}, controls={"steps": 8}),
    Variant(name="depths at every 4th of 8 steps", loop={"cache_every": 4}, controls={"steps": 8}),
)
WHOLE_WAY = (
    Variant(name="DDIM, 50 steps, 999 to 0", loop={"end_timestep": 0.0}, controls={"steps": 50}),
    Variant(name="DDIM, 20 steps", loop={"end_timestep": 0.0}, controls={"steps": 20}),
    Variant(name="DPM-Solver++ 2M, 20 steps", loop={"end_timestep": 0.0, "sampler": "dpm++2m"}, controls={"steps": 20}),
    Variant(name="DPM-Solver++ 2M, 10 steps", loop={"end_timestep": 0.0, "sampler": "dpm++2m"}, controls={"steps": 10}),
    Variant(name="DDIM, 10 steps", loop={"end_timestep": 0.0}, controls={"steps": 10}),
    Variant(name="20 steps, depths at every 2nd", loop={"end_timestep": 0.0, "cache_every": 2}, controls={"steps": 20}),
)
WITH_GUIDANCE = (
    Variant(name="guidance 3 and 1.5 at each of 8 steps", controls=GUIDED),
    Variant(name="at every 2nd", loop={"guidance_every": 2}, controls=GUIDED),
    Variant(name="at every 4th", loop={"guidance_every": 4}, controls=GUIDED),
    Variant(name="no guidance", controls={"steps": 8}),
)


SETS = {"shipped": PLAIN, "whole-way": WHOLE_WAY, "guided": WITH_GUIDANCE}


def crops(folder: Path, each: int) -> Iterator[tuple[str, Picture, Picture]]:
    """(prompt, degraded, clean) from the middle of `each` pictures a task."""
    for task, prompt in TASKS.items():
        for path in sorted((folder / task / "lq").iterdir())[:each]:
            clean = next((folder / task / "gt").glob(f"{path.stem}.*"), None)
            if clean is not None:
                yield prompt, _middle(path), _middle(clean)


def _middle(path: Path) -> Picture:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    top, left = (max(0, (side - CROP_PX) // 2) for side in pixels.shape[:2])
    return pixels[top : top + CROP_PX, left : left + CROP_PX]


def measured(
    model: AutoDIR, variants: Sequence[Variant], pairs: Sequence[tuple[str, Picture, Picture]]
) -> Iterator[str]:
    """A row a variant; the first one is what the others are compared with."""
    yield "| variant | U-Net rows a picture | s a picture | PSNR to clean | PSNR to the first row |"
    yield "|---|---|---|---|---|"
    unhurried: list[Pixels] = []
    for variant in variants:
        loop = replace(model.config.loop, **variant.loop)  # type: ignore[arg-type]
        changed = AutoDIR(replace(model.config, loop=loop), model.assessor, model.air, model.scm, model.device)
        rows: list[int] = []
        hook = model.air.unet.conv_in.register_forward_hook(
            lambda _m, inputs, _o, rows=rows: rows.append(len(inputs[0]))
        )
        made: list[Pixels] = []
        start_s = time.process_time()
        for prompt, degraded, _ in pairs:
            controls = Controls(prompt=prompt, **variant.controls)  # type: ignore[arg-type]
            made.append(to_pixels(restore_one(changed, Request(image=to_tensor(degraded), controls=controls)).image))
        seconds = (time.process_time() - start_s) / len(pairs)
        hook.remove()
        unhurried = unhurried or made
        to_clean = mean(psnr(ours, clean) for ours, (_, _, clean) in zip(made, pairs, strict=True))
        to_first = mean(min(psnr(ours, first), 99.0) for ours, first in zip(made, unhurried, strict=True))
        near = "–" if made is unhurried else f"{to_first:.1f}"
        yield f"| {variant.name} | {sum(rows) / len(pairs):.1f} | {seconds:.2f} | {to_clean:.2f} | {near} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval", type=Path, default=Path(__file__).parents[2] / "shared" / "eval")
    parser.add_argument("--each", type=int, default=2, help="pictures a task")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--bundle", help="of the autodir family; the shipped one if unsaid")
    arguments = parser.parse_args()
    model = load_restorer(find_bundle(arguments.bundle), torch.device("cpu"))
    assert isinstance(model, AutoDIR), "the bundle is of another family"
    pairs = list(crops(arguments.eval, arguments.each))
    where = f"{platform.machine()} · {os.cpu_count()} cores · torch {torch.__version__}"
    print(f"# {where} · {len(pairs)} crops of {CROP_PX} px")
    for name in arguments.sets:
        print()
        for line in measured(model, SETS[name], pairs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
