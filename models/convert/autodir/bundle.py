"""AutoDIR's checkpoint becomes a bundle."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from models.autodir.assessor import prompt_of
from models.autodir.config import AutoDIRConfig
from models.bundle import BundleDegradation, Manifest, sha256_of
from models.convert.autodir.rules import Heads, config_of, networks, rules
from models.convert.bundle_writer import DTYPES as DTYPES  # here too, for those who convert
from models.convert.bundle_writer import Entries, entries_of, refuse_taken, write_converted
from models.convert.bundle_writer import OnProgress as OnProgress
from models.convert.checkpoint import open_checkpoint
from models.convert.license import AUTODIR
from models.convert.shards import SHARD_BYTES


def convert_autodir(
    checkpoint: Path,
    out: Path,
    dtype: torch.dtype = torch.float16,
    on_progress: OnProgress | None = None,
    *,
    heads: Heads | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Write the authors' checkpoint as a bundle to `out`, which must not be there; nothing is left of a failure.

    Raises:
        BundleError: the checkpoint is missing, damaged, unsafe, or not AutoDIR's; the message names file and key.
        ControlsError: `out` is taken.
    """
    refuse_taken(out)
    config, entries = plan(open_checkpoint(checkpoint), dtype, heads)
    return write_converted(out, _manifest(out.resolve().name, config, checkpoint), entries, shard_bytes, on_progress)


def plan(state: Mapping[str, Tensor], dtype: torch.dtype, heads: Heads | None = None) -> tuple[AutoDIRConfig, Entries]:
    """The networks' configuration, and for each network what is to be written; reads shapes only.

    Raises:
        BundleError: a key that no rule names, or a tensor that is missing, spare or misshapen.
    """
    config = config_of({key: value.shape for key, value in state.items()}, heads)
    return config, entries_of(state, networks(config), rules(config), dtype)


def _manifest(name: str, config: AutoDIRConfig, checkpoint: Path) -> Manifest:
    """The published system, without files yet."""
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
