"""Bundles: a folder with a manifest and safetensors, verified and loaded strictly.

`bundle.json` names the family, the networks' configurations, the degradations with their prompts and default w, every
file's size and sha256, what it was trained on and what was measured.  Networks are built on the meta device and filled
by assignment, so loading takes no memory twice and draws no random numbers.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.errors import BundleError
from models.folders import MANIFEST as MANIFEST  # here too, for those who load bundles
from models.folders import SHIPPED as SHIPPED
from models.folders import bundle_folders

GOLDEN = "golden.safetensors"
DEFAULT_BUNDLE = "autodir-small"
FILE_BYTES = 15 * 2**20
"""Shipped files stay below 16 MiB each; larger networks are sharded."""


class BundleFile(BaseModel):
    """One weight file and what it must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class BundleDegradation(BaseModel):
    """A name the assessor is asked for and its prompt.

    `fidelity` is the default SCM weight w, `strength` how much of a pass is taken, `floor` the probability from which
    the safe loop repairs it (0: the loop's own).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    prompt: str
    fidelity: float = Field(ge=0, le=1)
    strength: float = Field(default=1, ge=0, le=1)
    floor: float = Field(default=0, ge=0, le=1)


class Manifest(BaseModel):
    """`bundle.json`.  `networks` holds the family's configuration, and `weights` the files of each network."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: int = Field(default=1, ge=1, le=1)
    family: str
    name: str
    version: str
    description: str
    # Format 1 spells its key in British English, and bundles of format 1 exist
    license: str = Field(validation_alias="licence", serialization_alias="licence")
    restrictions: str = ""
    degradations: tuple[BundleDegradation, ...]
    networks: dict[str, Any]
    weights: dict[str, tuple[str, ...]]
    files: dict[str, BundleFile]
    golden: str | None = None  # the file with the golden image's answer (models.golden)
    trained_on: str = ""
    quality: dict[str, Any] = Field(default_factory=dict)


def list_bundles() -> list[Path]:
    """Every bundle that is there, earlier folders first; a name that is found twice counts once."""
    found: dict[str, Path] = {}
    for folder in bundle_folders():
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            found.setdefault(manifest.parent.name, manifest.parent)
    return list(found.values())


def find_bundle(name: str | None = None) -> Path:
    """The folder of a bundle: a path as it is, a name through the bundle folders, None for the default.

    Raises:
        BundleError: there is none; the message lists those that are there.
    """
    wanted = name or DEFAULT_BUNDLE
    if (Path(wanted) / MANIFEST).is_file():
        return Path(wanted)
    for bundle in list_bundles():
        if bundle.name == wanted:
            return bundle
    there = ", ".join(bundle.name for bundle in list_bundles()) or "none"
    raise BundleError(
        f"no bundle {wanted!r}: it is neither a folder with a {MANIFEST} nor one of: {there}. "
        "Give a path, or set UNDEGRADE_BUNDLES to the folder that holds it."
    )


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle's folder.

    Raises:
        BundleError: it is missing, no JSON, or has a wrong field (named).
    """
    path = bundle / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}. A bundle is a folder with a {MANIFEST}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{path}: {where}: {first['msg']}. Fetch or convert the bundle again.") from error


def verify_bundle(bundle: Path) -> None:
    """Check every file's size and sha256.

    Raises:
        BundleError: a file is missing or differs; the message names it.
    """
    manifest = read_manifest(bundle)
    for name in (name for names in manifest.weights.values() for name in names):
        if name not in manifest.files:
            raise BundleError(f"{bundle / MANIFEST} gives no sha256 for {name}. Fetch or convert the bundle again.")
    for name, expected in manifest.files.items():
        path = bundle / name
        if not path.is_file():
            raise BundleError(f"{path} is missing. Fetch the bundle again.")
        size = path.stat().st_size
        if size != expected.bytes:
            raise BundleError(f"{path} has {size} bytes, expected {expected.bytes}: it is damaged. Fetch it again.")
        found = sha256_of(path)
        if found != expected.sha256:
            raise BundleError(
                f"{path} has sha256 {found[:12]}…, expected {expected.sha256[:12]}…: it is damaged. Fetch it again."
            )


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(bundle: Path, manifest: Manifest, network: str, device: torch.device) -> dict[str, Tensor]:
    """All tensors of one network, as stored.

    Raises:
        BundleError: the manifest names no such network, or a file cannot be read.
    """
    if network not in manifest.weights:
        raise BundleError(f"{bundle / MANIFEST} names no weights for {network!r}. Fetch or convert the bundle again.")
    state: dict[str, Tensor] = {}
    for name in manifest.weights[network]:
        try:
            state.update(load_file(bundle / name, device=str(device)))
        except (OSError, SafetensorError) as error:
            raise BundleError(
                f"cannot read {bundle / name}: {error}. Run `undegrade models verify {bundle}`."
            ) from error
    return state


def fill(network: nn.Module, state: Mapping[str, Tensor], where: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Assign weights to a network on the meta device, strictly, and set it for inference.

    Raises:
        BundleError: keys are missing, spare or misshapen; the message names them.
    """
    converted = {
        name: value.to(dtype) if value.dtype.is_floating_point else value for name, value in state.items()
    }  # fmt: skip
    try:
        network.load_state_dict(converted, strict=True, assign=True)
    except RuntimeError as error:  # torch lists the missing, unexpected and misshapen keys
        raise BundleError(
            f"{where} does not fit {type(network).__name__}: {error}. Convert the checkpoint again with this version."
        ) from error
    return network.eval().requires_grad_(False)


def write_bundle(
    bundle: Path, manifest: Manifest, networks: Mapping[str, Mapping[str, Tensor]], dtype: torch.dtype = torch.float16
) -> Manifest:
    """Write a bundle's files, sharded below 16 MiB each, and its manifest with their sizes and hashes; returns it."""
    bundle.mkdir(parents=True, exist_ok=True)
    weights, files = {}, {}
    for network, state in networks.items():
        names = []
        shards = _shards(state, dtype)
        for index, shard in enumerate(shards):
            name = (
                f"{network}.safetensors" if len(shards) == 1 else f"{network}-{index + 1}-of-{len(shards)}.safetensors"
            )
            save_file(shard, bundle / name)
            (bundle / name).chmod(0o644)  # safetensors writes them for the owner alone
            files[name] = BundleFile(bytes=(bundle / name).stat().st_size, sha256=sha256_of(bundle / name))
            names.append(name)
        weights[network] = tuple(names)
    complete = manifest.model_copy(update={"weights": weights, "files": files})
    write_manifest(bundle, complete)
    return complete


def write_golden(bundle: Path, manifest: Manifest, answer: Mapping[str, Tensor]) -> Manifest:
    """Add the golden image's answer to a bundle; returns the manifest that names it."""
    save_file(dict(answer), bundle / GOLDEN)
    (bundle / GOLDEN).chmod(0o644)
    entry = BundleFile(bytes=(bundle / GOLDEN).stat().st_size, sha256=sha256_of(bundle / GOLDEN))
    complete = manifest.model_copy(update={"golden": GOLDEN, "files": {**manifest.files, GOLDEN: entry}})
    write_manifest(bundle, complete)
    return complete


def write_manifest(bundle: Path, manifest: Manifest) -> None:
    text = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False) + "\n"
    partial = bundle / (MANIFEST + ".part")
    partial.write_text(text)
    partial.replace(bundle / MANIFEST)


def _shards(state: Mapping[str, Tensor], dtype: torch.dtype) -> Sequence[dict[str, Tensor]]:
    """Tensors in order, cut into groups below FILE_BYTES; a single larger tensor gets a file of its own."""
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, value in state.items():
        stored = (value.to(dtype) if value.dtype.is_floating_point else value).detach().cpu().contiguous()
        size = stored.numel() * stored.element_size()
        if shards[-1] and used + size > FILE_BYTES:
            shards.append({})
            used = 0
        shards[-1][name] = stored
        used += size
    return shards
