"""DA-CLIP's checkpoint and a restoration network's become one bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from models.bundle import BundleDegradation, Manifest, sha256_of
from models.convert.bundle_writer import Entries, OnProgress, entries_of, refuse_taken, write_converted
from models.convert.checkpoint import open_checkpoint
from models.convert.daclip.rules import (
    CONTROLLER_RULES,
    NAFNET_RULES,
    UNET_RULES,
    check_aliases,
    controller_config,
    controller_on_meta,
    kind_of,
    nafnet_config,
    nafnet_on_meta,
    unet_config,
    unet_on_meta,
)
from models.convert.license import DACLIP
from models.convert.shards import SHARD_BYTES
from models.daclip.config import DaCLIPConfig
from models.errors import BundleError, ControlsError
from models.vocabulary import DACLIP_WORDS, degradation

WORDS = {degradation(word).name: word for word in DACLIP_WORDS}
TRAINED_ON = {
    False: "GoPro, RESIDE-6k, DIV2K, Flickr2K, LOL, RainDrop, Rain100H, SRD, Snow100K-L, CelebaHQ-256 "
    "(arXiv:2310.01018)",
    True: "LSDIR with a synthetic pipeline of degradations (arXiv:2404.09732)",
}
"""Whether it is the wild one."""


def convert_daclip(
    checkpoints: Sequence[Path],
    out: Path,
    dtype: torch.dtype = torch.float16,
    on_progress: OnProgress | None = None,
    *,
    wild: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Write DA-CLIP's checkpoint and its network's, in any order, as a bundle to `out`, which must not be there.

    Raises:
        BundleError: a checkpoint is missing, damaged, unsafe or of another model, or the two do not fit each other.
        ControlsError: `out` is taken, there are not two files, or `wild` does not fit the network.
    """
    refuse_taken(out)
    if len(checkpoints) != 2:
        raise ControlsError(f"got {len(checkpoints)} files, expected two: DA-CLIP's and its restoration network's.")
    config, entries = plan_daclip([open_checkpoint(path) for path in checkpoints], dtype)
    if wild == steered(config):
        said, other = ("daclip-wild", "daclip") if wild else ("daclip", "daclip-wild")
        takes = "takes" if wild else "takes no"
        raise ControlsError(f"got {said}, but the network {takes} degradation embedding. Convert it as {other}.")
    return write_converted(
        out, _manifest(out.resolve().name, config, checkpoints, wild), entries, shard_bytes, on_progress
    )


def plan_daclip(states: Sequence[Mapping[str, Tensor]], dtype: torch.dtype) -> tuple[DaCLIPConfig, Entries]:
    """The configuration, and for each network what is to be written; reads shapes, and the tower that is stored twice.

    Raises:
        BundleError: a key that no rule names, a missing, spare or misshapen tensor, or networks that do not fit.
    """
    by_kind = {kind_of(_shapes(state)): state for state in states}
    if "daclip" not in by_kind or len(by_kind) != 2:
        there = " and ".join(by_kind)
        raise BundleError(f"got checkpoints of {there}, expected DA-CLIP and one restoration network.")
    controller_state = by_kind.pop("daclip")
    check_aliases(controller_state)
    controller = controller_config(_shapes(controller_state))
    entries = entries_of(controller_state, controller_on_meta(controller), CONTROLLER_RULES, dtype)
    ((kind, state),) = by_kind.items()
    if kind == "unet":
        unet = unet_config(_shapes(state))
        config = DaCLIPConfig(words=WORDS, controller=controller, unet=unet)
        entries |= entries_of(state, unet_on_meta(unet), UNET_RULES, dtype)
        width: int | None = unet.context_dim
    else:
        nafnet = nafnet_config(_shapes(state))
        config = DaCLIPConfig(words=WORDS, controller=controller, nafnet=nafnet)
        entries |= entries_of(state, nafnet_on_meta(nafnet), NAFNET_RULES, dtype)
        width = None if nafnet.timed else nafnet.context_dim
    if width != controller.clip.embed_dim:
        wanted = "none" if width is None else f"{width} wide"
        raise BundleError(
            f"DA-CLIP's embeddings are {controller.clip.embed_dim} wide and the network takes {wanted}: these "
            "checkpoints do not go together."
        )
    return config, entries


def steered(config: DaCLIPConfig) -> bool:
    """Whether the network takes a degradation embedding; the wild one does not."""
    return config.unet is None or config.unet.prompt


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}


def _manifest(name: str, config: DaCLIPConfig, checkpoints: Sequence[Path], wild: bool) -> Manifest:
    """The published system, without files yet."""
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
