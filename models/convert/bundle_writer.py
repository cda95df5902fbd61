"""From a checkpoint's tensors to a bundle's files, for every family: planned key by key, then written one by one."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from models.bundle import BundleFile, Manifest, write_manifest
from models.convert.recipe import Rule, Source, recipe
from models.convert.shards import SHARD_BYTES, Entry, shards, write_shard
from models.errors import BundleError, ControlsError

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
OnProgress = Callable[[int, int], None]
"""Called with the bytes that are written and all that are to be written."""

Entries = dict[str, list[Entry]]
"""For each network what is to be written."""


def entries_of(
    state: Mapping[str, Tensor], networks: Mapping[str, nn.Module], rules: Sequence[Rule], dtype: torch.dtype
) -> Entries:
    """What fills the networks (on the meta device), of a checkpoint's tensors; reads shapes only.

    Raises:
        BundleError: a key that no rule names, or a tensor that is missing, spare or misshapen.
    """
    made = recipe(rules, state)
    entries: Entries = {}
    for network, module in networks.items():
        expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        _same_names(network, made.get(network, {}), expected)
        entries[network] = [_entry(state, name, made[network][name], shape, dtype) for name, shape in expected.items()]
    return entries


def refuse_taken(out: Path) -> None:
    """Before anything is read.

    Raises:
        ControlsError: `out` is taken.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ControlsError(f"{out} is already there. Give --out a folder that is not, or remove it.")


def write_converted(
    out: Path,
    manifest: Manifest,
    entries: Entries,
    shard_bytes: int = SHARD_BYTES,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Write a bundle under its name at the end; nothing is left of a failure.  Returns the manifest with its files.

    Raises:
        BundleError: the disk is too small, or a tensor holds what is no number.
    """
    with _staged(out, sum(entry.bytes for network in entries.values() for entry in network)) as staging:
        weights, files = _write(staging, entries, shard_bytes, on_progress)
        complete = manifest.model_copy(update={"weights": weights, "files": files})
        write_manifest(staging, complete)
    return complete


def _same_names(network: str, made: Mapping[str, tuple[Source, ...]], expected: Mapping[str, object]) -> None:
    """No tensor may be missing or spare."""
    for name in expected:
        if name not in made:
            raise BundleError(f"the checkpoint lacks what {network} needs as {name}. It is incomplete; fetch it again.")
    for name, sources in made.items():
        if name not in expected:
            raise BundleError(
                f"the checkpoint's {sources[0].key} has no place in {network} (as {name}). It is of another model."
            )


def _entry(
    state: Mapping[str, Tensor], name: str, sources: tuple[Source, ...], shape: tuple[int, ...], dtype: torch.dtype
) -> Entry:
    found = _shape([state[source.key].shape for source in sources], sources)
    if found != shape:
        keys = ", ".join(source.key for source in sources)
        raise BundleError(f"the checkpoint's {keys} has the shape {list(found)}, expected {list(shape)}.")
    kept = dtype if shape else torch.float32  # a lone number costs nothing, and logit_scale goes through exp
    return Entry(name=name, shape=shape, dtype=kept, load=partial(_converted, state, sources, kept))


def _shape(shapes: list[torch.Size], sources: tuple[Source, ...]) -> tuple[int, ...]:
    """Of the converted tensor, by the same arithmetic, without memory."""
    empty = [torch.empty(shape, device="meta") for shape in shapes]
    try:
        return tuple(_assembled(empty, sources).shape)
    except RuntimeError as error:
        keys = ", ".join(source.key for source in sources)
        raise BundleError(f"the checkpoint's {keys} do not fit each other: {error}.") from error


def _assembled(parts: list[Tensor], sources: tuple[Source, ...]) -> Tensor:
    change = sources[0].change
    if change == "transpose":
        return parts[0].T
    if change == "matrix":
        return parts[0].flatten(1)
    if change in ("q", "k", "v"):
        if [source.change for source in sources] != ["q", "k", "v"]:
            raise BundleError(f"the checkpoint has {sources[0].key} without its two companions. It is incomplete.")
        return torch.cat(parts)
    return parts[0]


def _converted(state: Mapping[str, Tensor], sources: tuple[Source, ...], dtype: torch.dtype) -> Tensor:
    """Read from disk, assembled and rounded.

    Raises:
        BundleError: a value is no number, or too large for the type.
    """
    exact = _assembled([state[source.key] for source in sources], sources)
    rounded = exact.to(dtype).contiguous()
    if not bool(torch.isfinite(rounded).all()):
        key = sources[0].key
        if bool(torch.isfinite(exact).all()):
            raise BundleError(f"the checkpoint's {key} is too large for float16. Convert with --dtype bfloat16.")
        raise BundleError(f"the checkpoint's {key} has values that are no numbers. It is damaged; fetch it again.")
    return rounded


def _write(
    folder: Path, entries: Mapping[str, list[Entry]], shard_bytes: int, on_progress: OnProgress | None
) -> tuple[dict[str, tuple[str, ...]], dict[str, BundleFile]]:
    total, done = sum(entry.bytes for network in entries.values() for entry in network), 0

    def wrote(count: int) -> None:
        nonlocal done
        done += count
        if on_progress:
            on_progress(done, total)

    weights: dict[str, tuple[str, ...]] = {}
    files: dict[str, BundleFile] = {}
    for network, own in entries.items():
        parts = list(shards(own, shard_bytes))
        count = len(parts)
        names = tuple(f"{network}{f'-{i + 1}-of-{count}' if count > 1 else ''}.safetensors" for i in range(count))
        for name, part in zip(names, parts, strict=True):
            files[name] = write_shard(folder / name, part, wrote)
        weights[network] = names
    return weights, files


@contextmanager
def _staged(out: Path, needed_bytes: int) -> Iterator[Path]:
    """A folder beside `out` that takes its name at the end and is gone when anything, Ctrl-C included, comes between.

    Raises:
        BundleError: the disk is too small.
    """
    there = next(folder for folder in out.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed_bytes * 1.01:
        raise BundleError(
            f"{there} has {free / 1e9:.1f} GB free, expected {needed_bytes / 1e9:.1f}. Make room or change --out."
        )
    staging = Path(tempfile.mkdtemp(prefix=f".{out.absolute().name}.", suffix=".part", dir=there))
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp makes it for the owner alone
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.replace(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
