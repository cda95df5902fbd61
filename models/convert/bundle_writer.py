"""Writes a bundle from the tensors of a checkpoint, for every family.

All tensors are planned first, by their shapes.  Then they are read, converted and written one by one, so that only one
is in memory.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.bundle import BundleFile, Manifest, load_weights, shard_names, split_into_shards, write_manifest
from models.convert.rule_table import Rule, Source, make_recipe
from models.convert.shards import SHARD_BYTES, PlannedTensor, write_shard
from models.errors import BundleError, ControlsError
from models.optional import not_none
from models.prompt_plan import style_of

N = TypeVar("N", bound=nn.Module)
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
OnProgress = Callable[[int, int], None]
"""Called with the bytes that are written so far and the total."""

Plan = dict[str, list[PlannedTensor]]
"""The tensors to write for each network."""


def plan_tensors(
    state: Mapping[str, Tensor], networks: Mapping[str, nn.Module], rules: Sequence[Rule], dtype: torch.dtype
) -> Plan:
    """Plan the tensors of networks on the meta device; reads only the shapes of the checkpoint's tensors.

    Raises:
        BundleError: no rule matches a key, or a tensor is missing, unexpected or of the wrong shape.
    """
    recipe = make_recipe(rules, state)
    plan: Plan = {}
    for network, module in networks.items():
        shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        _check_names(network, recipe.get(network, {}), shapes)
        plan[network] = [_planned(state, name, recipe[network][name], shape, dtype) for name, shape in shapes.items()]
    return plan


def build_planned(build: Callable[[], N], plan: Plan, file: str) -> N:
    """Returns the network that a plan for one network holds, with its tensors; errors name `file`."""
    with torch.device("meta"):
        network = build()
    (tensors,) = plan.values()
    load_weights(network, {tensor.name: tensor.load() for tensor in tensors}, file)
    return network


def require_free(out: Path) -> None:
    """Check the output folder before anything is read.

    Raises:
        ControlsError: `out` is a file or a folder with content.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ControlsError(f"{out} already exists. Give --out a new folder, or remove this one.")


def write_converted(
    out: Path,
    manifest: Manifest,
    plan: Plan,
    shard_bytes: int = SHARD_BYTES,
    on_progress: OnProgress | None = None,
    *,
    files_of: Path | None = None,
) -> Manifest:
    """Write a bundle, which appears complete or not at all; returns the manifest with its files.

    Files that the manifest lists already are copied from the bundle `files_of`.

    Raises:
        BundleError: the disk is too small, or a tensor contains NaN or infinite values.
    """
    needed_bytes = sum(tensor.bytes for tensors in plan.values() for tensor in tensors)
    with _staged(out, needed_bytes + sum(file.bytes for file in manifest.files.values())) as staging:
        for name in manifest.files:
            shutil.copyfile(not_none(files_of) / name, staging / name)
        if files_of is None and style_of(manifest.networks, manifest.prompts) == "words":
            manifest = manifest.model_copy(update={"prompts": "free"})  # published systems take free prompts
        weights, files = _write(staging, plan, shard_bytes, on_progress)
        complete = manifest.model_copy(
            update={"weights": {**manifest.weights, **weights}, "files": {**manifest.files, **files}}
        )
        write_manifest(staging, complete)
    return complete


def _check_names(network: str, recipe: Mapping[str, tuple[Source, ...]], expected: Mapping[str, object]) -> None:
    for name in expected:
        if name not in recipe:
            raise BundleError(
                f"the checkpoint has no tensor for {name} of {network}. It is incomplete; download it again."
            )
    for name, sources in recipe.items():
        if name not in expected:
            raise BundleError(
                f"the checkpoint's {sources[0].key} has no place in {network} (as {name}). "
                "It belongs to another model or version."
            )


def _planned(
    state: Mapping[str, Tensor], name: str, sources: tuple[Source, ...], shape: tuple[int, ...], dtype: torch.dtype
) -> PlannedTensor:
    found = _converted_shape([state[source.key].shape for source in sources], sources)
    if found != shape:
        keys = ", ".join(source.key for source in sources)
        raise BundleError(f"the checkpoint's {keys} has the shape {list(found)}, expected {list(shape)}.")
    stored = dtype if shape else torch.float32  # scalars stay exact: logit_scale is an exponent
    return PlannedTensor(name=name, shape=shape, dtype=stored, load=partial(_converted, state, sources, stored))


def _converted_shape(shapes: list[torch.Size], sources: tuple[Source, ...]) -> tuple[int, ...]:
    """Returns the shape after conversion, computed on the meta device."""
    empty = [torch.empty(shape, device="meta") for shape in shapes]
    try:
        return tuple(_assembled(empty, sources).shape)
    except RuntimeError as error:
        keys = ", ".join(source.key for source in sources)
        raise BundleError(f"the checkpoint's {keys} do not fit together: {error}.") from error


def _assembled(parts: list[Tensor], sources: tuple[Source, ...]) -> Tensor:
    change = sources[0].change
    if change == "transpose":
        return parts[0].T
    if change == "matrix":
        return parts[0].flatten(1)
    if change in ("q", "k", "v"):
        if [source.change for source in sources] != ["q", "k", "v"]:
            raise BundleError(
                f"the checkpoint has {sources[0].key} without the other two of query, key and value. It is incomplete."
            )
        return torch.cat(parts)
    return parts[0]


def _converted(state: Mapping[str, Tensor], sources: tuple[Source, ...], dtype: torch.dtype) -> Tensor:
    """Read, convert and round a tensor.

    Raises:
        BundleError: a value is NaN, infinite, or too large for the type.
    """
    exact = _assembled([state[source.key] for source in sources], sources)
    rounded = exact.to(dtype).contiguous()
    if not bool(torch.isfinite(rounded).all()):
        key = sources[0].key
        if bool(torch.isfinite(exact).all()):
            raise BundleError(f"the checkpoint's {key} is too large for float16. Convert with --dtype bfloat16.")
        raise BundleError(f"the checkpoint's {key} contains NaN or infinite values. It is damaged; download it again.")
    return rounded


def _write(
    folder: Path, plan: Plan, shard_bytes: int, on_progress: OnProgress | None
) -> tuple[dict[str, tuple[str, ...]], dict[str, BundleFile]]:
    """Write all files; returns the files of each network, and the size and hash of each file."""
    total, written = sum(tensor.bytes for tensors in plan.values() for tensor in tensors), 0

    def on_bytes(count: int) -> None:
        nonlocal written
        written += count
        if on_progress:
            on_progress(written, total)

    weights: dict[str, tuple[str, ...]] = {}
    files: dict[str, BundleFile] = {}
    for network, tensors in plan.items():
        shards = split_into_shards(tensors, lambda tensor: tensor.bytes, shard_bytes)
        weights[network] = shard_names(network, len(shards))
        for name, shard in zip(weights[network], shards, strict=True):
            files[name] = write_shard(folder / name, shard, on_bytes)
    return weights, files


@contextmanager
def _staged(out: Path, needed_bytes: int) -> Iterator[Path]:
    """Create a folder beside `out` that is renamed at the end, and removed after any error or interruption.

    Raises:
        BundleError: the disk is too small.
    """
    parent = next(folder for folder in out.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(parent).free
    if free < needed_bytes * 1.01:
        raise BundleError(
            f"got {free / 1e9:.1f} GB free in {parent}, expected {needed_bytes / 1e9:.1f} GB. "
            "Free some space or choose another --out."
        )
    staging = Path(tempfile.mkdtemp(prefix=f".{out.absolute().name}.", suffix=".part", dir=parent))
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp makes it readable by the owner only
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.replace(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
