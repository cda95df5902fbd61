"""Does a checkpoint, converted and loaded as the product does it, answer as the authors' modules did?

The vectors are safetensors by name (scm, unet, vae, clip, sampler, pipeline_auto, pipeline_user); a folder may hold
some of them.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from models.autodir.restorer import AutoDIR
from models.convert.autodir.bundle import OnProgress, convert_autodir
from models.convert.autodir.check_networks import CHECKS as NETWORKS
from models.convert.autodir.check_program import CHECKS as PROGRAM
from models.convert.autodir.rules import Heads
from models.convert.verdicts import Check, Row, compare, files_there
from models.families import load_restorer


def check_autodir(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """A row for each group of tensors that is there; the names of the files that are not.

    Raises:
        ControlsError: there is no vector file at all.
        BundleError: the checkpoint cannot be converted, or a vector file cannot be read or lacks a tensor.
    """
    checks: dict[str, Check[AutoDIR]] = {**NETWORKS, **PROGRAM}
    files_there(vectors, checks)  # before anything is converted
    with tempfile.TemporaryDirectory(prefix="undegrade-check-") as folder:
        bundle = Path(folder) / "autodir"
        convert_autodir(checkpoint, bundle, torch.float32, on_progress, heads=heads_of(vectors))
        model = load_restorer(bundle, torch.device("cpu"))
    assert isinstance(model, AutoDIR)
    yield from compare(model, checks, vectors)


def heads_of(vectors: Path) -> Heads | None:
    """The numbers of attention heads, which no tensor's shape tells, where a meta.json lies beside the vectors."""
    try:
        meta = json.loads((vectors / "meta.json").read_text())
        clip, unet = meta["clip_config"], meta["unet_config"]
        text, vision = (int(clip[tower]["num_attention_heads"]) for tower in ("text", "vision"))
        return Heads(unet=int(unet["num_heads"]), text=text, vision=vision)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the published rule stands
