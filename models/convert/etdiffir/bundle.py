"""ETDiffIR's layout: sizes, read from the tensors' shapes, and rules.

The authors released code and no weights; a checkpoint is one that somebody trained with that code.  Its names are
ours, but for the cross-attention's dead parts.  The decoder's blocks, stored and never run, are kept: they belong to
the layout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from models.bundle import BundleDegradation, Manifest, sha256_of
from models.convert.bundle_writer import Entries, OnProgress, entries_of, refuse_taken, write_converted
from models.convert.checkpoint import open_checkpoint
from models.convert.daclip.rules import (
    CONTROLLER_RULES,
    UNET_RULES,
    check_aliases,
    controller_config,
    controller_on_meta,
)
from models.convert.license import ETDIFFIR
from models.convert.shards import SHARD_BYTES
from models.convert.sizes import Shapes, count, shape_of
from models.errors import BundleError, ControlsError
from models.etdiffir.config import ETDiffIRConfig
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.vocabulary import DACLIP_WORDS, degradation

MARK = "mid_block1.block1.proj.0.dwconv.weight"
"""What only this U-Net has."""

ERUNET_RULES = UNET_RULES


def erunet_config(shapes: Shapes) -> EfficientUNetConfig:
    """Of a checkpoint of their layout, or of ours in paper mode.

    Raises:
        BundleError: a tensor that tells a size is missing; the message names it.
    """

    def shape(key: str, dimensions: int) -> torch.Size:
        return shape_of(shapes, key, dimensions, "it is no U-Net of ETDiffIR's. Give the one that its code wrote.")

    shape(MARK, 4)
    width = shape("init_conv.weight", 4)[0]
    context = shape("mid_attn.fn.fn.transformer_blocks.0.attn2.to_v.weight", 2)[1]
    levels = count(shapes, r"downs\.(\d+)\.")
    return EfficientUNetConfig(
        width=width,
        multipliers=tuple(shape(f"downs.{level}.3.weight", 4)[0] // width for level in range(levels)),
        context_dim=context,
        mode="paper" if shape("text_mlp.0.weight", 2)[1] == 2 * context else "published-code",
    )


def erunet_on_meta(config: EfficientUNetConfig) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return {"unet": EfficientUNet(config)}


def convert_etdiffir(
    checkpoints: Sequence[Path],
    out: Path,
    dtype: torch.dtype = torch.float16,
    on_progress: OnProgress | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Write DA-CLIP's checkpoint and the U-Net's, in any order, as a bundle to `out`, which must not be there.

    Raises:
        BundleError: a checkpoint is missing, damaged, unsafe or of another model, or the two do not fit each other.
        ControlsError: `out` is taken, or there are not two files.
    """
    refuse_taken(out)
    if len(checkpoints) != 2:
        raise ControlsError(f"got {len(checkpoints)} files, expected two: DA-CLIP's and ETDiffIR's U-Net.")
    config, entries = plan_etdiffir([open_checkpoint(path) for path in checkpoints], dtype)
    return write_converted(out, _manifest(out.resolve().name, config, checkpoints), entries, shard_bytes, on_progress)


def plan_etdiffir(states: Sequence[Mapping[str, Tensor]], dtype: torch.dtype) -> tuple[ETDiffIRConfig, Entries]:
    """The configuration, and for each network what is to be written; reads shapes, and the tower that is stored twice.

    Raises:
        BundleError: a key that no rule names, a missing, spare or misshapen tensor, or networks that do not fit.
    """
    nets = [state for state in states if MARK in state]
    guides = [state for state in states if MARK not in state]
    if len(nets) != 1 or len(guides) != 1:
        raise BundleError(f"got {len(nets)} U-Nets of ETDiffIR's, expected one and a DA-CLIP. Give both files.")
    check_aliases(guides[0])
    controller, unet = controller_config(_shapes(guides[0])), erunet_config(_shapes(nets[0]))
    if unet.context_dim != controller.clip.embed_dim:
        raise BundleError(
            f"DA-CLIP's embeddings are {controller.clip.embed_dim} wide and the U-Net takes {unet.context_dim}: these "
            "checkpoints do not go together. Give the DA-CLIP that it was trained with."
        )
    entries = entries_of(guides[0], controller_on_meta(controller), CONTROLLER_RULES, dtype)
    entries |= entries_of(nets[0], erunet_on_meta(unet), ERUNET_RULES, dtype)
    words = {degradation(word).name: word for word in DACLIP_WORDS}
    return ETDiffIRConfig(words=words, controller=controller, unet=unet), entries


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}


def _manifest(name: str, config: ETDiffIRConfig, checkpoints: Sequence[Path]) -> Manifest:
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
