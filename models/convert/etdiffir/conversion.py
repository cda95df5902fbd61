"""Converts the checkpoints of DA-CLIP and ETDiffIR's U-Net to one bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from models.bundle import BundleDegradation, Manifest, sha256_of
from models.convert.bundle_writer import OnProgress, Plan, plan_tensors, require_free, write_converted
from models.convert.daclip.rules import CONTROLLER_RULES, check_copy, controller_config, controller_on_meta
from models.convert.etdiffir.rules import ERUNET_KEY, ERUNET_RULES, erunet_config, erunet_on_meta
from models.convert.license import ETDIFFIR
from models.convert.open_checkpoint import open_checkpoint
from models.convert.shards import SHARD_BYTES
from models.convert.sizes import shapes_of
from models.errors import BundleError, ControlsError
from models.etdiffir.config import ETDiffIRConfig
from models.vocabulary import DACLIP_WORDS, degradation


def convert_etdiffir(
    checkpoints: Sequence[Path],
    out: Path,
    dtype: torch.dtype = torch.float16,
    on_progress: OnProgress | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Convert DA-CLIP and the U-Net, in any order, to a bundle in the new folder `out`.

    Raises:
        BundleError: a checkpoint is missing, damaged, unsafe or of another model, or the two do not fit together.
        ControlsError: `out` exists, or there are not two files.
    """
    require_free(out)
    if len(checkpoints) != 2:
        raise ControlsError(f"got {len(checkpoints)} files, expected two: DA-CLIP's and ETDiffIR's U-Net.")
    config, plan = plan_etdiffir([open_checkpoint(path) for path in checkpoints], dtype)
    return write_converted(out, _manifest(out.resolve().name, config, checkpoints), plan, shard_bytes, on_progress)


def plan_etdiffir(states: Sequence[Mapping[str, Tensor]], dtype: torch.dtype) -> tuple[ETDiffIRConfig, Plan]:
    """Returns the configuration and the tensors to write; reads shapes, and both copies of the image encoder.

    Raises:
        BundleError: no rule matches a key, a tensor is missing, unexpected or of the wrong shape, or the networks do
            not fit together.
    """
    unets = [state for state in states if ERUNET_KEY in state]
    others = [state for state in states if ERUNET_KEY not in state]
    if len(unets) != 1 or len(others) != 1:
        raise BundleError(f"got {len(unets)} U-Nets of ETDiffIR, expected one and a DA-CLIP. Give both files.")
    check_copy(others[0])
    controller, unet = controller_config(shapes_of(others[0])), erunet_config(shapes_of(unets[0]))
    if unet.context_dim != controller.clip.embed_dim:
        raise BundleError(
            f"the checkpoints do not fit together: DA-CLIP's embeddings are {controller.clip.embed_dim} wide, but the "
            f"U-Net takes {unet.context_dim}. Use the DA-CLIP that it was trained with."
        )
    plan = plan_tensors(others[0], controller_on_meta(controller), CONTROLLER_RULES, dtype)
    plan |= plan_tensors(unets[0], erunet_on_meta(unet), ERUNET_RULES, dtype)
    words = {degradation(word).name: word for word in DACLIP_WORDS}
    return ETDiffIRConfig(words=words, controller=controller, unet=unet), plan


def _manifest(name: str, config: ETDiffIRConfig, checkpoints: Sequence[Path]) -> Manifest:
    """Returns the manifest, still without files."""
    files = " and ".join(f"{path.name} (sha256 {sha256_of(path)})" for path in checkpoints)
    stated = asdict(config)
    return Manifest(
        family="etdiffir",
        name=name,
        version="1",
        description=f"ETDiffIR: DA-CLIP and the efficient U-Net, converted from {files}.",
        license="none stated by the authors",
        restrictions=ETDIFFIR,
        degradations=tuple(
            BundleDegradation(name=entry, prompt=word, fidelity=1) for entry, word in config.words.items()
        ),
        networks={part: stated[part] for part in ("controller", "unet", "sde", "fallback", "loop")},
        weights={},
        files={},
    )
