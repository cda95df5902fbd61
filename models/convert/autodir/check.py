"""Checks a converted AutoDIR checkpoint against outputs recorded from the authors' code.

The checkpoint is converted and loaded as in the product.  The vectors are safetensors files (scm, unet, vae, clip,
sampler, pipeline_auto, pipeline_user), of which some may be missing.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from models.autodir.restorer import AutoDIR
from models.convert.autodir.check_networks import NETWORK_CHECKS
from models.convert.autodir.check_program import PROGRAM_CHECKS
from models.convert.autodir.conversion import convert_autodir
from models.convert.autodir.rules import Heads
from models.convert.bundle_writer import OnProgress
from models.convert.verdicts import Check, Row, compare, vector_files
from models.families import load_restorer


def check_autodir(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """Yield a row for each group of tensors, and the name of each missing vector file.

    Raises:
        ControlsError: no vector file exists.
        BundleError: the checkpoint cannot be converted, or a vector file cannot be read or has no expected tensor.
    """
    checks: dict[str, Check[AutoDIR]] = {**NETWORK_CHECKS, **PROGRAM_CHECKS}
    vector_files(vectors, checks)  # before anything is converted
    with tempfile.TemporaryDirectory(prefix="undegrade-check-") as folder:
        bundle = Path(folder) / "autodir"
        convert_autodir(checkpoint, bundle, torch.float32, on_progress, heads=heads_of(vectors))
        model = load_restorer(bundle, torch.device("cpu"))
    assert isinstance(model, AutoDIR)
    yield from compare(model, checks, vectors)


def heads_of(vectors: Path) -> Heads | None:
    """Read the numbers of attention heads, which shapes do not show, from meta.json beside the vectors."""
    try:
        meta = json.loads((vectors / "meta.json").read_text())
        clip, unet = meta["clip_config"], meta["unet_config"]
        text, vision = (int(clip[tower]["num_attention_heads"]) for tower in ("text", "vision"))
        return Heads(unet=int(unet["num_heads"]), text=text, vision=vision)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the published rule applies
