"""Converts AutoDIR's checkpoint to a bundle."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from models.autodir.assessor import prompt_of
from models.autodir.config import AutoDIRConfig
from models.bundle import BundleDegradation, Manifest, sha256_of
from models.convert.autodir.rules import Heads, config_of, networks, rules
from models.convert.bundle_writer import OnProgress, Plan, plan_tensors, require_free, write_converted
from models.convert.license import AUTODIR
from models.convert.open_checkpoint import open_checkpoint
from models.convert.shards import SHARD_BYTES
from models.convert.sizes import shapes_of


def convert_autodir(
    checkpoint: Path,
    out: Path,
    dtype: torch.dtype = torch.float16,
    on_progress: OnProgress | None = None,
    *,
    heads: Heads | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Convert the authors' checkpoint to a bundle in the new folder `out`; after an error nothing is left there.

    Raises:
        BundleError: the checkpoint is missing, damaged, unsafe, or not AutoDIR's; the message names the file or key.
        ControlsError: `out` exists.
    """
    require_free(out)
    config, plan = plan_autodir(open_checkpoint(checkpoint), dtype, heads)
    return write_converted(out, _manifest(out.resolve().name, config, checkpoint), plan, shard_bytes, on_progress)


def plan_autodir(
    state: Mapping[str, Tensor], dtype: torch.dtype, heads: Heads | None = None
) -> tuple[AutoDIRConfig, Plan]:
    """Returns the configuration and the tensors to write; reads only shapes.

    Raises:
        BundleError: no rule matches a key, or a tensor is missing, unexpected or of the wrong shape.
    """
    config = config_of(shapes_of(state), heads)
    return config, plan_tensors(state, networks(config), rules(config), dtype)


def _manifest(name: str, config: AutoDIRConfig, checkpoint: Path) -> Manifest:
    """Returns the manifest of the published system, still without files."""
    stated, sha256 = asdict(config), sha256_of(checkpoint)
    return Manifest(
        family="autodir",
        name=name,
        version="1",
        description=f"AutoDIR as its authors released it, converted from {checkpoint.name} (sha256 {sha256}).",
        license="none stated by the authors",
        restrictions=AUTODIR,
        degradations=tuple(
            BundleDegradation(name=entry, prompt=prompt_of(entry), fidelity=config.fidelity[entry])
            for entry in config.names
        ),
        networks={part: stated[part] for part in ("clip", "air", "scm", "loop")},
        weights={},
        files={},
        trained_on="SIDD, DIV2K, Flickr2K, GoPro, LOL, RESIDE, Rain200L, Raindrop (arXiv:2310.10123)",
    )
