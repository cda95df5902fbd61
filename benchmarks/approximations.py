"""Measure the quality loss of each approximation: PSNR to the ground truth and to the result of the first row.

Crops of the pairs below --eval are restored in one pass each, with a prompt for the degradation of their task.  "U-Net
rows" counts the images in all U-Net calls.  Seconds are CPU time; set OMP_NUM_THREADS=1.

Example: python benchmarks/approximations.py --each 1 --sets shipped
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from conditions import EVAL_SET, Timer, header, make_parser
from PIL import Image

from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle
from models.controls import Controls
from models.drive import restore_one
from models.evaluation.pairs import Picture
from models.families import load_restorer
from models.pixels import Pixels, to_pixels, to_tensor
from models.psnr import psnr
from models.restorer import Request

TASKS = {
    "denoise": "remove the noise", "derain": "remove the rain", "dehaze": "remove the haze",
    "lowlight": "brighten this dark photo", "deblur": "remove the blur", "jpeg": "remove the jpeg artifacts",
}  # fmt: skip
CROP_PX = 192


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Changes to the bundle's loop and to the user's controls."""

    name: str
    loop: dict[str, str | int | float] = field(default_factory=dict)
    controls: dict[str, int | float] = field(default_factory=dict)


GUIDANCE = {"text_guidance": 3.0, "image_guidance": 1.5, "steps": 8}
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
FULL_SCHEDULE = (
    Variant(name="DDIM, 50 steps, 999 to 0", loop={"end_timestep": 0.0}, controls={"steps": 50}),
    Variant(name="DDIM, 20 steps", loop={"end_timestep": 0.0}, controls={"steps": 20}),
    Variant(name="DPM-Solver++ 2M, 20 steps", loop={"end_timestep": 0.0, "sampler": "dpm++2m"}, controls={"steps": 20}),
    Variant(name="DPM-Solver++ 2M, 10 steps", loop={"end_timestep": 0.0, "sampler": "dpm++2m"}, controls={"steps": 10}),
    Variant(name="DDIM, 10 steps", loop={"end_timestep": 0.0}, controls={"steps": 10}),
    Variant(name="20 steps, depths at every 2nd", loop={"end_timestep": 0.0, "cache_every": 2}, controls={"steps": 20}),
)
GUIDED = (
    Variant(name="guidance 3 and 1.5 at each of 8 steps", controls=GUIDANCE),
    Variant(name="at every 2nd", loop={"guidance_every": 2}, controls=GUIDANCE),
    Variant(name="at every 4th", loop={"guidance_every": 4}, controls=GUIDANCE),
    Variant(name="no guidance", controls={"steps": 8}),
)


SETS = {"shipped": PLAIN, "whole-way": FULL_SCHEDULE, "guided": GUIDED}


def crops(folder: Path, each: int) -> Iterator[tuple[str, Picture, Picture]]:
    """Yields (prompt, degraded, clean) center crops of `each` photos per task."""
    for task, prompt in TASKS.items():
        for path in sorted((folder / task / "lq").iterdir())[:each]:
            clean = next((folder / task / "gt").glob(f"{path.stem}.*"), None)
            if clean is not None:
                yield prompt, _center_crop(path), _center_crop(clean)


def _center_crop(path: Path) -> Picture:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    top, left = (max(0, (side - CROP_PX) // 2) for side in pixels.shape[:2])
    return pixels[top : top + CROP_PX, left : left + CROP_PX]


def measure(
    model: AutoDIR, variants: Sequence[Variant], pairs: Sequence[tuple[str, Picture, Picture]]
) -> Iterator[str]:
    """Yields one row per variant; all variants are compared with the first."""
    yield "| variant | U-Net rows per photo | s per photo | PSNR to ground truth | PSNR to the first row |"
    yield "|---|---|---|---|---|"
    first: list[Pixels] = []
    for variant in variants:
        loop = replace(model.config.loop, **variant.loop)  # type: ignore[arg-type]
        changed = AutoDIR(replace(model.config, loop=loop), model.assessor, model.air, model.scm, model.device)
        rows: list[int] = []
        hook = model.air.unet.conv_in.register_forward_hook(
            lambda _m, inputs, _o, rows=rows: rows.append(len(inputs[0]))
        )
        results: list[Pixels] = []
        with Timer() as timer:
            for prompt, degraded, _ in pairs:
                controls = Controls(prompt=prompt, **variant.controls)  # type: ignore[arg-type]
                request = Request(image=to_tensor(degraded), controls=controls)
                results.append(to_pixels(restore_one(changed, request).image))
        hook.remove()
        first = first or results
        to_clean = mean(psnr(result, clean) for result, (_, _, clean) in zip(results, pairs, strict=True))
        to_first = mean(min(psnr(result, other), 99.0) for result, other in zip(results, first, strict=True))
        near = "–" if results is first else f"{to_first:.1f}"
        calls, seconds = sum(rows) / len(pairs), timer.cpu_s / len(pairs)
        yield f"| {variant.name} | {calls:.1f} | {seconds:.2f} | {to_clean:.2f} | {near} |"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--eval", type=Path, default=EVAL_SET, help="folder of TASK/lq and TASK/gt")
    parser.add_argument("--each", type=int, default=2, help="photos per task")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="groups of variants")
    parser.add_argument("--bundle", help="name or folder of an AutoDIR bundle; the shipped one by default")
    arguments = parser.parse_args()
    model = load_restorer(find_bundle(arguments.bundle), torch.device("cpu"))
    assert isinstance(model, AutoDIR), "the bundle is of another family"
    pairs = list(crops(arguments.eval, arguments.each))
    print(header(f"{len(pairs)} crops of {CROP_PX} px"))
    for name in arguments.sets:
        print()
        for line in measure(model, SETS[name], pairs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
