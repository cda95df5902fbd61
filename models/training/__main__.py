"""`python -m models.training STAGE --images DIR --out DIR [...]`: train one stage.

The paper's are assessor, AIR and SCM.  Ours: text tower (`python -m models.training.core.text`), specialists, glance,
assessor, AIR, SCM, in this order; each takes the earlier ones' files.
"""

import argparse
import sys
from pathlib import Path

import cv2
import torch
from rich.console import Console

from models.device import choose_device
from models.errors import ModelsError, TrainingError
from models.training.autodir import recipes
from models.training.core.config import RunConfig
from models.training.core.trainer import Stage, Trainer
from models.training.data.photos import PhotoPool, decode_into, find_photos

EXAMPLE = """example:
  python -m models.training.core.text --out runs/text/text.safetensors
  python -m models.training detail --images photos/ --out runs/detail    (and light, blur)
  python -m models.training weather --images photos/ --out runs/weather --specialist detail=runs/detail/best.safetensors
  python -m models.training glance --images photos/ --text runs/text/text.safetensors --out runs/glance --minutes 40
  python -m models.training assessor --images photos/ --text runs/text/text.safetensors --out runs/assessor \\
      --glance runs/glance/best.safetensors --specialist detail=runs/detail/best.safetensors \\
      --specialist weather=runs/weather/best.safetensors
  python -m models.training air --images photos/ --text runs/text/text.safetensors --out runs/air --minutes 60
  python -m models.training scm --images photos/ --text runs/text/text.safetensors --out runs/scm \\
      --air runs/air/best.safetensors
  python -m models.training daclip --images photos/ --out runs/daclip --captions captions.tsv
  python -m models.training irsde --images photos/ --daclip runs/daclip/best.safetensors --out runs/irsde
"""


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="python -m models.training", description=__doc__, epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    arguments.add_argument("stage", choices=sorted(recipes.RECIPES))
    arguments.add_argument("--images", type=Path, action="append", default=[], help="a folder of photos; repeatable")
    arguments.add_argument("--out", type=Path, required=True, help="where weights, log and pictures go")
    arguments.add_argument("--minutes", type=float, help="the budget; the learning rate falls to its end")
    arguments.add_argument("--steps", type=int, help="a budget in steps instead: reproducible")
    arguments.add_argument("--batch", type=int)
    arguments.add_argument("--crop", type=int, help="side of the training crops in pixels")
    arguments.add_argument("--learning-rate", type=float)
    arguments.add_argument("--muon", type=float, help="step the kernels with Muon, at this rate")
    arguments.add_argument("--mixture", help="autodir's stages: the kinds to draw, as haze=1.3,clean=0.2")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--bf16", action=argparse.BooleanOptionalAction, help="autocast; default: on CUDA only")
    arguments.add_argument("--threads", type=int, help="CPU threads; all cores when left out")
    arguments.add_argument("--loaders", type=int, default=1, help="processes that make training pairs")
    arguments.add_argument("--validate-every", type=float, default=300.0, help="seconds")
    arguments.add_argument("--resume", action="store_true", help="go on from OUT/last.pt")
    arguments.add_argument(
        "--start-from", type=Path, help="begin with these weights (a safetensors of the same network)"
    )
    arguments.add_argument("--text", type=Path, help="the trained text tower")
    arguments.add_argument("--glance", type=Path, help="assessor: what the stage glance wrote")
    arguments.add_argument(
        "--specialist", action="append", default=[],
        help="weather, assessor: NAME=FILE, what a specialist's stage wrote; repeatable",
    )  # fmt: skip
    arguments.add_argument(
        "--air", type=Path, help="scm: the trained AIR; without it the SCM warms up on the input alone"
    )
    arguments.add_argument("--captions", type=Path, help="daclip and after: lines of path, tab, caption")
    arguments.add_argument("--content", type=float, default=1.0, help="daclip: share of steps that learn the content")
    arguments.add_argument(
        "--rows", type=Path, help="daclip and after: rows.tsv of models.training.data.captioned_rows, not --images"
    )
    arguments.add_argument("--wild", action="store_true", help="irsde, nafnet-daclip: the wild pipeline's pictures")
    arguments.add_argument("--size", choices=("small", "published"), default="small", help="daclip and after: networks")
    arguments.add_argument("--base", type=Path, help="daclip: a CLIP (safetensors, open_clip's names) to stay frozen")
    arguments.add_argument("--daclip", type=Path, help="irsde, etdiffir, nafnet-daclip: what the stage daclip wrote")
    arguments.add_argument(
        "--told", type=float, default=0.0, help="nafnet-daclip: share of pictures that come with their word, not a look"
    )
    arguments.add_argument(
        "--correction", type=Path, help="nafnet-daclip: begin as this correction module, of the stage scm"
    )
    arguments.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where decoded photos are kept")
    return arguments


def build(arguments: argparse.Namespace) -> tuple[Stage, RunConfig, torch.device, object]:
    """The stage, its run, the device and the stage's configuration, as the command line says."""
    device = choose_device(arguments.device).device
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(0)  # before the loaders fork: a forked OpenCV thread pool deadlocks
    run = recipes.run_config(arguments, device)
    if not arguments.images and not arguments.rows:
        raise TrainingError("got no --images. Give a folder of photos; the daclip stages also take --rows.")
    files = decode_into(arguments.cache, find_photos(arguments.images), run.longest_px)
    if len(files) < 2 and not arguments.rows:
        raise TrainingError(f"got {len(files)} readable photos, expected at least 2 (one is held out for validation)")
    pools = PhotoPool(files, validation=False), PhotoPool(files, validation=True)
    torch.manual_seed(run.seed)
    stage, config = recipes.RECIPES[arguments.stage](run, pools, arguments)
    return stage, run, device, config


def main() -> int:
    console = Console(stderr=True)
    arguments = parser().parse_args()
    try:
        stage, run, device, config = build(arguments)
        trainer = Trainer(stage, run, device, config)
        if arguments.resume:
            trainer.resume()
        elif arguments.start_from:
            trainer.start_from(arguments.start_from)
        best = trainer.train(console)
    except ModelsError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 3
    except KeyboardInterrupt:
        console.print(f"interrupted; go on with: --resume --out {arguments.out}", markup=False)
        return 130
    console.print(f"best score {best.score:.3f}: {run.out / 'best.safetensors'}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
