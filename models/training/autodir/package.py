"""`python -m models.training package-autodir`: writes an AutoDIR bundle from trained networks.

Reads the weights that the stages wrote; writes `bundle.json` and half-precision safetensors.  With --images, it
calibrates the assessor and the strength of each repair on the photographs that training held out.
"""

import argparse
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import torch
from rich.console import Console
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
from models.training.autodir.calibration import cautious_offset, fit_confidence, measure_floors, measure_strengths
from models.training.autodir.package_published import write_published
from models.training.core.run_config import RunConfig
from models.training.core.slimming import slimmed
from models.training.core.text_encoder import load_text_encoder
from models.training.core.validation import validation_examples
from models.training.core.weights_file import filled
from models.training.data.photos import PhotoPool, decode_into, find_photos
from models.vocabulary import CLEAN

CPU = torch.device("cpu")
TRAINED_ON = (
    "openly licensed photographs only (CLIC 2025, CID22, metadata-extractor-images, wallpapers of Debian, KDE, MATE, "
    "Pop!_OS, "
    "deepin, Budgie, CyanogenMod, and others named in docs/model-card.md), with synthetic degradations"
)

CLEAN_CROPS = 120
"""About four of each held-out photograph."""


def manifest(version: str, specialists: Collection[str] = (), loop: LoopConfig = autodir_small.LOOP) -> Manifest:
    """Returns the manifest of the small bundle, without weights and files."""
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--assessor", type=Path, required=True, help="best.safetensors of the stage assessor")
    add(
        "--size", choices=("small", "published"), default="small",
        help="published: the sizes are read from config.json beside the weights; no specialists, no calibration",
    )  # fmt: skip
    add("--text", type=Path, help="text encoder to use instead; it must have kept the class prompts (--start-from)")
    add("--air", type=Path, required=True, help="best.safetensors of the stage air")
    add("--scm", type=Path, required=True, help="best.safetensors of the stage scm")
    for name, config in autodir_small.SPECIALISTS.items():
        add(f"--{name}", type=Path, help=f"best.safetensors of the stage {name}, for {', '.join(config.names)}")
    add("--out", type=Path, required=True, help="folder of the bundle")
    add("--version", default="1", help="version of the bundle; default: 1")
    add("--images", type=Path, action="append", help="training photos; calibrate on the held-out ones; repeatable")
    add("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded photos; default: runs/cache")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the bundle; returns the exit code."""
    if arguments.size == "published":
        write_published(arguments.out, arguments.assessor, arguments.air, arguments.scm, arguments.version)
        console.print(f"wrote {arguments.out}", markup=False)
        return 0
    assessor = Assessor(autodir_small.CLIP, autodir_small.NAMES)
    air, scm = AIR(autodir_small.AIR), NAFNet(autodir_small.SCM)
    filled(assessor, arguments.assessor)
    if arguments.text is not None:
        load_text_encoder(assessor.clip, arguments.text)
    filled(air, arguments.air)
    filled(scm, arguments.scm)
    loop = autodir_small.LOOP
    pool = held_out(arguments.images, arguments.cache) if arguments.images else None
    if pool is not None:
        factor, offset = calibrate(assessor, pool)
        loop = replace(loop, wary=offset)
        console.print(f'multiplied the logits of the assessor by {factor:.2f}; offset of "clean": {-offset:+.2f}')
    networks = {"clip": assessor.clip.state_dict(), "air": air.state_dict(), "scm": scm.state_dict()}
    specialists = {key: path for key in autodir_small.SPECIALISTS if (path := getattr(arguments, key)) is not None}
    for key, path in specialists.items():
        network = filled(DRUNet(autodir_small.SPECIALISTS[key].network), path)
        networks[f"specialist-{key}"] = network.state_dict()
    smaller = slimmed(manifest(arguments.version, specialists, loop), networks)
    console.print("\n".join(smaller.notes), markup=False)
    written = write_bundle(arguments.out, smaller.manifest, smaller.networks, torch.float16)
    if pool is not None:
        written = with_strengths_and_floors(arguments.out, written, pool)
        write_manifest(arguments.out, written)
    golden.record(load_restorer(arguments.out, CPU), arguments.out, written)
    console.print(f"wrote {arguments.out}", markup=False)
    return 0


def held_out(images: Sequence[Path], cache: Path) -> PhotoPool:
    """Returns the photographs that no stage has trained on."""
    cv2.setNumThreads(0)
    return PhotoPool(
        decode_into(cache, find_photos(images), RunConfig(images=(), out=cache).longest_px), validation=True
    )


@torch.no_grad()
def calibrate(assessor: Assessor, pool: PhotoPool) -> tuple[float, float]:
    """Calibrate the confidence of the assessor, on crops with as many views as in the loop.

    Returns the factor, which is already applied to the logits, and the offset to subtract from the "clean" logit.
    """
    assessor.eval()
    assessor.forget_prompts()
    assessor.most_views, assessor.overview = autodir_small.LOOP.views, autodir_small.LOOP.overview
    examples = validation_examples(pool, autodir_small.NAMES, crop_px=3 * autodir_small.CLIP.vision.image_size, each=8)
    truth = [index for index, example in enumerate(examples) for _ in example["degraded"]]
    answers = [answer for example in examples for answer in assessor.view_logits(list(example["degraded"]))]
    factor, _ = fit_confidence(answers, truth, autodir_small.NAMES.index(CLEAN))
    (clean,) = validation_examples(
        pool, autodir_small.NAMES, crop_px=3 * autodir_small.CLIP.vision.image_size, each=CLEAN_CROPS, drawn=(CLEAN,)
    )
    looks = [look for image in clean["degraded"] for look in assessor.view_logits([image])]
    floors = {name: max(autodir_small.LOOP.floor, autodir_small.FLOORS.get(name, 0)) for name in autodir_small.NAMES}
    offset = cautious_offset(looks, factor, autodir_small.NAMES, floors)
    scale: Tensor = assessor.clip.get_parameter("logit_scale")
    scale += math.log(factor)
    return factor, offset


def with_strengths_and_floors(bundle: Path, written: Manifest, pool: PhotoPool) -> Manifest:
    """Returns the manifest with the best strength and the floor of each degradation."""
    examples = validation_examples(pool, autodir_small.NAMES, crop_px=192, each=12)
    strengths = measure_strengths(_prompted_restorer(bundle), examples, autodir_small.NAMES)
    written = _updated(written, "strength", strengths)
    write_manifest(bundle, written)  # the floors depend on the strengths
    floors = measure_floors(
        _prompted_restorer(bundle), examples, autodir_small.NAMES, blackening=autodir_small.LOOP.blackening
    )
    return _updated(written, "floor", {**floors, **autodir_small.FLOORS})


def _prompted_restorer(bundle: Path) -> Restorer:
    """Load the bundle for requests with a prompt: the assessment only fills the report, so one view is enough."""
    restorer = load_restorer(bundle, CPU)
    assert isinstance(restorer, AutoDIR)
    restorer.assessor.most_views, restorer.assessor.overview = 1, 0.0
    return restorer


def _updated(written: Manifest, field: str, values: dict[str, float]) -> Manifest:
    degradations = tuple(
        entry.model_copy(update={field: values[entry.name]}) if entry.name in values else entry
        for entry in written.degradations
    )
    return written.model_copy(update={"degradations": degradations})
