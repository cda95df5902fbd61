"""`python -m models.training.autodir.package`: put the trained networks together as a bundle.

Takes the weights that the stages wrote and writes `bundle.json` with half-precision safetensors.  With --images, the
strength of each repair is calibrated on the photographs that training held out.
"""

import argparse
import math
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from models import golden
from models.autodir.air import AIR
from models.autodir.assessor import Assessor, prompt_of
from models.autodir.config import LoopConfig
from models.autodir.restorer import AutoDIR
from models.bundle import BundleDegradation, Manifest, write_bundle, write_manifest
from models.families import load_restorer
from models.networks.drunet import DRUNet
from models.networks.nafnet import NAFNet
from models.restorer import Restorer
from models.training.autodir import autodir_small
from models.training.autodir.calibration import calibration, floors, strengths
from models.training.core.config import RunConfig
from models.training.core.text import load_text_tower
from models.training.core.validation import validation_examples
from models.training.data.photos import PhotoPool, decode_into, find_photos
from models.vocabulary import CLEAN

TRAINED_ON = (
    "openly licensed photographs only (CLIC 2025, CID22, metadata-extractor-images, wallpapers of Debian, KDE, MATE, "
    "Pop!_OS, "
    "deepin, Budgie, CyanogenMod, and others named in docs/model-card.md), with synthetic degradations"
)


def manifest(version: str, specialists: Collection[str] = (), loop: LoopConfig = autodir_small.LOOP) -> Manifest:
    degradations = tuple(
        BundleDegradation(name=name, prompt=prompt_of(name), fidelity=0.0 if name == CLEAN else 1.0)
        for name in autodir_small.NAMES
    )
    return Manifest(
        family="autodir",
        name="autodir-small",
        version=version,
        description="A small AutoDIR for a CPU: assessor, denoiser on lossless 8 x 8 patches, NAFNet correction"
        + (f", and specialists: {', '.join(specialists)}." if specialists else "."),
        license="Apache-2.0",
        degradations=degradations,
        networks={
            "clip": asdict(autodir_small.CLIP),
            "air": asdict(autodir_small.AIR),
            "scm": asdict(autodir_small.SCM),
            "specialists": {key: asdict(autodir_small.SPECIALISTS[key]) for key in specialists},
            "loop": asdict(loop),
        },
        weights={},
        files={},
        trained_on=TRAINED_ON,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.training.autodir.package", description=__doc__)
    parser.add_argument("--assessor", type=Path, required=True, help="best.safetensors of the assessor stage")
    parser.add_argument("--text", type=Path, help="a text tower that kept the class prompts of the assessor's own")
    parser.add_argument("--air", type=Path, required=True)
    parser.add_argument("--scm", type=Path, required=True)
    for key, config in autodir_small.SPECIALISTS.items():
        parser.add_argument(f"--{key}", type=Path, help=f"of the stage {key}, for {', '.join(config.names)}")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--version", default="1")
    parser.add_argument("--images", type=Path, action="append", help="the training photos: calibrate on those held out")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where decoded photos are kept")
    arguments = parser.parse_args()
    assessor, air, scm = (
        Assessor(autodir_small.CLIP, autodir_small.NAMES),
        AIR(autodir_small.AIR),
        NAFNet(autodir_small.SCM),
    )
    assessor.load_state_dict(load_file(arguments.assessor))
    if arguments.text is not None:
        load_text_tower(assessor.clip, arguments.text)
    air.load_state_dict(load_file(arguments.air))
    scm.load_state_dict(load_file(arguments.scm))
    loop = autodir_small.LOOP
    pool = held_out(arguments.images, arguments.cache) if arguments.images else None
    if pool is not None:
        factor, wary = calibrate(assessor, pool)
        loop = replace(loop, wary=wary)
        Console(stderr=True).print(f"the assessor's logits times {factor:.2f}, of clean {wary:.2f} less")
    networks = {"clip": assessor.clip.state_dict(), "air": air.state_dict(), "scm": scm.state_dict()}
    specialists = {key: path for key in autodir_small.SPECIALISTS if (path := getattr(arguments, key)) is not None}
    for key, path in specialists.items():
        network = DRUNet(autodir_small.SPECIALISTS[key].network)
        network.load_state_dict(load_file(path))
        networks[f"specialist-{key}"] = network.state_dict()
    written = write_bundle(arguments.out, manifest(arguments.version, specialists, loop), networks, torch.float16)
    if pool is not None:
        written = calibrated(arguments.out, written, pool)
        write_manifest(arguments.out, written)
    golden.record(load_restorer(arguments.out, torch.device("cpu")), arguments.out, written)


def held_out(images: list[Path], cache: Path) -> PhotoPool:
    """The photographs that no stage has learned from."""
    cv2.setNumThreads(0)
    return PhotoPool(
        decode_into(cache, find_photos(images), RunConfig(images=(), out=cache).longest_px), validation=True
    )


@torch.no_grad()
def calibrate(assessor: Assessor, pool: PhotoPool) -> tuple[float, float]:
    """Make the assessor as sure as it is right, on crops that are looked at in as many views as the loop's.

    Returns the factor on its logits, which they have now, and what the loop is to take off the logit of "clean".
    """
    assessor.eval()
    assessor.forget_prompts()
    assessor.most_views, assessor.overview = autodir_small.LOOP.views, autodir_small.LOOP.overview
    examples = validation_examples(pool, autodir_small.NAMES, crop_px=3 * autodir_small.CLIP.vision.image_size, each=8)
    truth = [index for index, example in enumerate(examples) for _ in example["degraded"]]
    answers = [answer for example in examples for answer in assessor.view_logits(list(example["degraded"]))]
    factor, wary = calibration(answers, truth, autodir_small.NAMES.index(CLEAN))
    scale: Tensor = assessor.clip.get_parameter("logit_scale")
    scale += math.log(factor)
    return factor, wary


def calibrated(bundle: Path, written: Manifest, pool: PhotoPool) -> Manifest:
    """The manifest with each degradation's best strength and floor."""
    examples = validation_examples(pool, autodir_small.NAMES, crop_px=192, each=12)
    found = strengths(_told(bundle), examples, autodir_small.NAMES)
    written = _updated(written, "strength", found)
    write_manifest(bundle, written)  # what a repair risks depends on how much of it is taken
    measured = floors(_told(bundle), examples, autodir_small.NAMES, blackening=autodir_small.LOOP.blackening)
    return _updated(written, "floor", {**measured, **autodir_small.FLOORS})


def _told(bundle: Path) -> Restorer:
    """The bundle at work for who says what to repair: its looks fill the report only, so one view will do."""
    restorer = load_restorer(bundle, torch.device("cpu"))
    assert isinstance(restorer, AutoDIR)
    restorer.assessor.most_views, restorer.assessor.overview = 1, 0.0
    return restorer


def _updated(written: Manifest, field: str, values: dict[str, float]) -> Manifest:
    degradations = tuple(
        entry.model_copy(update={field: values[entry.name]}) if entry.name in values else entry
        for entry in written.degradations
    )
    return written.model_copy(update={"degradations": degradations})


if __name__ == "__main__":
    main()
