"""Converts the checkpoints of DA-CLIP and a restoration network to one bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from models.bundle import BundleDegradation, Manifest, sha256_of
from models.convert.bundle_writer import OnProgress, Plan, plan_tensors, require_free, write_converted
from models.convert.daclip.rules import (
    CONTROLLER_RULES,
    NAFNET_RULES,
    UNET_RULES,
    check_copy,
    controller_config,
    controller_on_meta,
    nafnet_config,
    nafnet_on_meta,
    network_kind,
    unet_config,
    unet_on_meta,
)
from models.convert.license import DACLIP
from models.convert.open_checkpoint import open_checkpoint
from models.convert.shards import SHARD_BYTES
from models.convert.sizes import shapes_of
from models.daclip.config import DaCLIPConfig
from models.errors import BundleError, ControlsError
from models.vocabulary import DACLIP_WORDS, degradation

WORDS = {degradation(word).name: word for word in DACLIP_WORDS}
TRAINED_ON = {
    False: "GoPro, RESIDE-6k, DIV2K, Flickr2K, LOL, RainDrop, Rain100H, SRD, Snow100K-L, CelebaHQ-256 "
    "(arXiv:2310.01018)",
    True: "LSDIR with a synthetic pipeline of degradations (arXiv:2404.09732)",
}
"""By whether it is the wild variant."""


def convert_daclip(
    checkpoints: Sequence[Path],
    out: Path,
    dtype: torch.dtype = torch.float16,
    on_progress: OnProgress | None = None,
    *,
    wild: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Convert DA-CLIP and its restoration network, in any order, to a bundle in the new folder `out`.

    Raises:
        BundleError: a checkpoint is missing, damaged, unsafe or of another model, or the two do not fit together.
        ControlsError: `out` exists, there are not two files, or `wild` does not match the network.
    """
    require_free(out)
    if len(checkpoints) != 2:
        raise ControlsError(f"got {len(checkpoints)} files, expected two: DA-CLIP's and its restoration network's.")
    config, plan = plan_daclip([open_checkpoint(path) for path in checkpoints], dtype)
    if wild == _takes_degradation(config):
        name, other = ("daclip-wild", "daclip") if wild else ("daclip", "daclip-wild")
        takes = "takes" if wild else "takes no"
        raise ControlsError(f"got {name}, but the network {takes} degradation embedding. Convert it as {other}.")
    return write_converted(
        out, _manifest(out.resolve().name, config, checkpoints, wild), plan, shard_bytes, on_progress
    )


def plan_daclip(states: Sequence[Mapping[str, Tensor]], dtype: torch.dtype) -> tuple[DaCLIPConfig, Plan]:
    """Returns the configuration and the tensors to write; reads shapes, and both copies of the image encoder.

    Raises:
        BundleError: no rule matches a key, a tensor is missing, unexpected or of the wrong shape, or the networks do
            not fit together.
    """
    by_kind = {network_kind(shapes_of(state)): state for state in states}
    if "daclip" not in by_kind or len(by_kind) != 2:
        kinds = " and ".join(by_kind)
        raise BundleError(f"got checkpoints of {kinds}, expected DA-CLIP and one restoration network.")
    controller_state = by_kind.pop("daclip")
    check_copy(controller_state)
    controller = controller_config(shapes_of(controller_state))
    plan = plan_tensors(controller_state, controller_on_meta(controller), CONTROLLER_RULES, dtype)
    ((kind, state),) = by_kind.items()
    if kind == "unet":
        unet = unet_config(shapes_of(state))
        config = DaCLIPConfig(words=WORDS, controller=controller, unet=unet)
        plan |= plan_tensors(state, unet_on_meta(unet), UNET_RULES, dtype)
        width: int | None = unet.context_dim
    else:
        nafnet = nafnet_config(shapes_of(state))
        config = DaCLIPConfig(words=WORDS, controller=controller, nafnet=nafnet)
        plan |= plan_tensors(state, nafnet_on_meta(nafnet), NAFNET_RULES, dtype)
        width = None if nafnet.timed else nafnet.context_dim
    if width != controller.clip.embed_dim:
        expected = "none" if width is None else f"{width} wide"
        raise BundleError(
            f"the checkpoints do not fit together: DA-CLIP's embeddings are {controller.clip.embed_dim} wide, but the "
            f"network takes {expected}. Use the DA-CLIP that it was trained with."
        )
    return config, plan


def _takes_degradation(config: DaCLIPConfig) -> bool:
    """Whether a degradation embedding conditions the network; not the wild variant."""
    return config.unet is None or config.unet.prompt


def _manifest(name: str, config: DaCLIPConfig, checkpoints: Sequence[Path], wild: bool) -> Manifest:
    """Returns the manifest of the published system, still without files."""
    files = " and ".join(f"{path.name} (sha256 {sha256_of(path)})" for path in checkpoints)
    stated = asdict(config)
    return Manifest(
        family="daclip",
        name=name,
        version="1",
        description=f"DA-CLIP with its restoration network as their authors released them, converted from {files}.",
        license="MIT",
        restrictions=DACLIP,
        degradations=tuple(
            BundleDegradation(name=entry, prompt=word, fidelity=1) for entry, word in config.words.items()
        ),
        networks={part: stated[part] for part in ("controller", "unet", "nafnet", "sde", "loop") if stated[part]},
        weights={},
        files={},
        trained_on=TRAINED_ON[wild],
    )
