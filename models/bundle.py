"""Bundles: folders with a manifest and safetensors files, which are verified and loaded strictly.

The manifest, `bundle.json`, holds the family, the networks' configurations, the degradations with their prompts and
default fidelity, the size and sha256 of each file, the training data and the measured quality.  Networks are built on
the meta device and their weights assigned, so that loading neither needs memory twice nor draws random numbers.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.eight_bit import from_eight_bits
from models.errors import BundleError
from models.folders import DISTRIBUTIONS, MANIFEST, bundle_folders
from models.prompt_plan import PromptStyle

T = TypeVar("T")

GOLDEN = "golden.safetensors"
DEFAULT_BUNDLE = "autodir-small"
MAX_FILE_BYTES = 15 * 2**20
"""The weights in one file of a written bundle, 15.7 MB; larger networks are split into several files."""


class BundleFile(BaseModel):
    """The size and hash of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class BundleDegradation(BaseModel):
    """A degradation that the assessor knows, with its prompt.

    Attributes:
        fidelity: the default weight w of the structural correction (SCM).
        strength: the share of each pass that is applied.
        floor: the probability from which the safe loop repairs the degradation; 0 uses the loop's own threshold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    prompt: str
    fidelity: float = Field(ge=0, le=1)
    strength: float = Field(default=1, ge=0, le=1)
    floor: float = Field(default=0, ge=0, le=1)


class Manifest(BaseModel):
    """The content of `bundle.json`.

    Attributes:
        networks: the family's configuration.
        weights: the files of each network.
        golden: the file with the expected result for the golden image (models.golden).
        credit: whom to name beside results.
        prompts: "words" of the lexicon, or "free" text for the text encoder; None: by the size of that
            (models.prompt_plan).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: int = Field(default=1, ge=1, le=1)
    family: str
    name: str
    version: str
    description: str
    # Bundles of format 1 spell this key in British English
    license: str = Field(validation_alias="licence", serialization_alias="licence")
    restrictions: str = ""
    credit: str = ""
    prompts: PromptStyle | None = None
    degradations: tuple[BundleDegradation, ...]
    networks: dict[str, Any]
    weights: dict[str, tuple[str, ...]]
    files: dict[str, BundleFile]
    golden: str | None = None
    trained_on: str = ""
    quality: dict[str, Any] = Field(default_factory=dict)


def list_bundles() -> list[Path]:
    """Returns all installed bundles; where two have the same name, the one in the earlier folder."""
    found: dict[str, Path] = {}
    for folder in bundle_folders():
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            found.setdefault(manifest.parent.name, manifest.parent)
    return list(found.values())


def find_bundle(name: str | None = None) -> Path:
    """Returns the folder of a bundle.

    Args:
        name: a path, the name of an installed bundle, or None for the default bundle.

    Raises:
        BundleError: the bundle does not exist; the message lists the installed bundles.
    """
    name = name or DEFAULT_BUNDLE
    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    bundles = list_bundles()
    for bundle in bundles:
        if bundle.name == name:
            return bundle
    installed = ", ".join(bundle.name for bundle in bundles) or "none"
    if name in DISTRIBUTIONS:
        raise BundleError(
            f"no bundle {name!r}: it is not part of undegrade's wheel; installed: {installed}. Install the wheel "
            f"{DISTRIBUTIONS[name]} (docs/models.md), or copy models/bundles/{name} of undegrade's repository into a "
            "folder and set UNDEGRADE_BUNDLES to that folder."
        )
    raise BundleError(
        f"no bundle {name!r}: it is neither a folder with a {MANIFEST} nor an installed bundle ({installed}). "
        "Give a path, or set UNDEGRADE_BUNDLES to the folder that contains it."
    )


def read_manifest(bundle: Path) -> Manifest:
    """Read and validate the manifest of a bundle.

    Raises:
        BundleError: the manifest is missing, is not JSON, or has a wrong field, which the message names.
    """
    path = bundle / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}. A bundle is a folder with a {MANIFEST}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{path}: {where}: {first['msg']}. Download or convert the bundle again.") from error


def verify_bundle(bundle: Path) -> None:
    """Check the size and sha256 of every file.

    Raises:
        BundleError: a file is missing or different; the message names it.
    """
    manifest = read_manifest(bundle)
    for name in (name for names in manifest.weights.values() for name in names):
        if name not in manifest.files:
            raise BundleError(f"{bundle / MANIFEST} has no sha256 for {name}. Download or convert the bundle again.")
    for name, expected in manifest.files.items():
        path = bundle / name
        if not path.is_file():
            raise BundleError(f"{path} is missing. Download the bundle again.")
        size = path.stat().st_size
        if size != expected.bytes:
            raise BundleError(f"{path} has {size} bytes, expected {expected.bytes}: it is damaged. Download it again.")
        found = sha256_of(path)
        if found != expected.sha256:
            raise BundleError(
                f"{path} has sha256 {found[:12]}…, expected {expected.sha256[:12]}…: it is damaged. Download it again."
            )


def manifest_sha256(bundle: Path) -> str:
    """Returns the sha256 of a bundle's manifest, which names those of all its files: two equal ones are one bundle."""
    return sha256_of(bundle / MANIFEST)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(bundle: Path, manifest: Manifest, network: str, device: torch.device) -> dict[str, Tensor]:
    """Returns all tensors of one network, in the stored precision; those in 8 bits (models.eight_bit) as float32.

    Raises:
        BundleError: the manifest does not list the network, or a file cannot be read.
    """
    return from_eight_bits(read_stored(bundle, manifest, network, device))


def read_stored(bundle: Path, manifest: Manifest, network: str, device: torch.device) -> dict[str, Tensor]:
    """Returns all tensors of the files of one network, as `write_bundle` would write them again.

    Raises:
        BundleError: the manifest does not list the network, or a file cannot be read.
    """
    if network not in manifest.weights:
        raise BundleError(
            f"{bundle / MANIFEST} lists no weights for {network!r}. Download or convert the bundle again."
        )
    state: dict[str, Tensor] = {}
    for name in manifest.weights[network]:
        try:
            state.update(load_file(bundle / name, device=str(device)))
        except (OSError, SafetensorError) as error:
            raise BundleError(
                f"cannot read {bundle / name}: {error}. Run `undegrade models verify {bundle}`."
            ) from error
    return state


def load_weights(
    network: nn.Module, state: Mapping[str, Tensor], source: str, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Assign weights to a network on the meta device and prepare it for inference; `source` is named in errors.

    Raises:
        BundleError: keys are missing or unexpected, or a shape differs; the message names them.
    """
    converted = {name: value.to(dtype) if value.dtype.is_floating_point else value for name, value in state.items()}
    try:
        network.load_state_dict(converted, strict=True, assign=True)
    except RuntimeError as error:  # torch lists the keys
        raise BundleError(
            f"{source} does not fit {type(network).__name__}: {error}. Convert the checkpoint again with this version."
        ) from error
    return network.eval().requires_grad_(False)


def write_bundle(
    bundle: Path, manifest: Manifest, networks: Mapping[str, Mapping[str, Tensor]], dtype: torch.dtype = torch.float16
) -> Manifest:
    """Write the weights in files of at most MAX_FILE_BYTES, then the manifest; returns the complete manifest."""
    bundle.mkdir(parents=True, exist_ok=True)
    weights, files = {}, {}
    for network, state in networks.items():
        stored = {
            name: (value.to(dtype) if value.dtype.is_floating_point else value).detach().cpu().contiguous()
            for name, value in state.items()
        }
        sizes = {name: value.nbytes for name, value in stored.items()}
        shards = split_into_shards(list(sizes), sizes.__getitem__, MAX_FILE_BYTES)
        weights[network] = shard_names(network, len(shards))
        for file, names in zip(weights[network], shards, strict=True):
            files[file] = _save({name: stored[name] for name in names}, bundle / file)
    complete = manifest.model_copy(update={"weights": weights, "files": files})
    write_manifest(bundle, complete)
    return complete


def write_golden(bundle: Path, manifest: Manifest, answer: Mapping[str, Tensor]) -> Manifest:
    """Add the expected result for the golden image to a bundle; returns the updated manifest."""
    entry = _save(answer, bundle / GOLDEN)
    complete = manifest.model_copy(update={"golden": GOLDEN, "files": {**manifest.files, GOLDEN: entry}})
    write_manifest(bundle, complete)
    return complete


def write_manifest(bundle: Path, manifest: Manifest) -> None:
    fields = manifest.model_dump(mode="json", by_alias=True)
    for newer in ("credit", "prompts"):  # earlier versions refuse fields that they do not know
        if not fields[newer]:
            del fields[newer]
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    partial = bundle / (MANIFEST + ".part")
    partial.write_text(text)
    partial.replace(bundle / MANIFEST)


def _save(tensors: Mapping[str, Tensor], path: Path) -> BundleFile:
    save_file(dict(tensors), path)
    path.chmod(0o644)  # safetensors makes it readable by the owner only
    return BundleFile(bytes=path.stat().st_size, sha256=sha256_of(path))


def split_into_shards(items: Sequence[T], size_bytes: Callable[[T], int], max_bytes: int) -> list[list[T]]:
    """Split items, in order, into groups of at most `max_bytes`; a larger item gets a group of its own."""
    shards: list[list[T]] = [[]]
    used = 0
    for item in items:
        size = size_bytes(item)
        if shards[-1] and used + size > max_bytes:
            shards.append([])
            used = 0
        shards[-1].append(item)
        used += size
    return shards


def shard_names(network: str, count: int) -> tuple[str, ...]:
    """Returns the file names of a network that is split into `count` files."""
    if count == 1:
        return (f"{network}.safetensors",)
    return tuple(f"{network}-{index + 1}-of-{count}.safetensors" for index in range(count))
