"""The weights of the assessor's CLIP, whose restoration networks may be specialists of the bundle.

The tower's `parts` in the manifest name them (models.networks.evidence_encoder): the file of a specialist then serves
both, and in float32 its memory, too.  A branch without such a name is in CLIP's own files (docs/decisions/0051).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.bundle import Manifest, read_weights

CLIP = "clip"
BRANCH = "visual.branches."


def branch_parts(networks: Mapping[str, Any]) -> dict[str, str]:
    """Returns the part of the bundle that holds a branch, by the prefix of the branch's tensors in CLIP.

    `networks` are those of a manifest.  Branches that CLIP's own files hold are left out.
    """
    tower = networks.get(CLIP, {}).get("tower") or {}
    return {f"{BRANCH}{index}.": part for index, part in enumerate(tower.get("parts", ())) if part}


def own_tensors(networks: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of a CLIP that its own files hold."""
    elsewhere = tuple(branch_parts(networks))
    return {name: value for name, value in state.items() if not name.startswith(elsewhere)}


def read_clip(
    bundle: Path, manifest: Manifest, device: torch.device, loaded: Mapping[str, nn.Module] | None = None
) -> dict[str, Tensor]:
    """Returns all tensors of the assessor's CLIP, those of the branches included.

    Args:
        loaded: networks by their part of the bundle, already on the device.  Branches get their tensors, not copies,
            where they are float32: the assessor never computes in less.

    Raises:
        BundleError: the manifest does not list a part, or a file cannot be read.
    """
    state = read_weights(bundle, manifest, CLIP, device)
    for prefix, part in branch_parts(manifest.networks).items():
        network = (loaded or {}).get(part)
        branch = network.state_dict() if network is not None else {}
        if not branch or any(value.dtype != torch.float32 for value in branch.values()):
            branch = read_weights(bundle, manifest, part, device)
        state |= {prefix + name: value for name, value in branch.items()}
    return state
