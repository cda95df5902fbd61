"""A bundle that is small enough to travel: without its rarer specialists, and with weights that compress.

Of an AutoDIR bundle this leaves out:

    specialists           all but KEPT_SPECIALISTS; diffusion and correction repair their degradations instead
    token embeddings      of the words that no prompt of the bundle and of the benchmarks uses: they are zero
    bits of the mantissa  all but MANTISSA_BITS of each weight of a matrix in half precision

Speeds and memory are those of the bundle; pictures are nearly those.  The result is a bundle like any other, with its
own hashes and its own golden image, packed as a .tar.bz2.
"""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from models import golden
from models.autodir.clip_weights import branch_parts
from models.bundle import Manifest, read_manifest, read_weights, write_bundle
from models.device import Speed
from models.families import load_restorer
from models.networks.clip import VOCABULARY, tokenize

KEPT_SPECIALISTS = ("detail",)
"""Repairs noise, which the benchmarks' photo has."""
MANTISSA_BITS = 4
"""Of the ten of a float16: a weight is off by 3 % at most, and a file shrinks to half."""
HALF_MANTISSA_BITS = 10
PROMPTS = ("", "remove the noise", "remove the blur", "noise", "haze")
"""What the golden image, the engine's probe and the benchmarks ask for."""
EMBEDDING = "token_embedding.weight"


def trim_bundle(bundle: Path, out: Path, archive: Path) -> Manifest:
    """Write a trimmed copy of an AutoDIR bundle into the folder `out`, and the same as an archive.

    Returns its manifest.

    Raises:
        BundleError: the bundle cannot be read, or the copy cannot be loaded.
    """
    manifest = read_manifest(bundle)
    asked = branch_parts(manifest.networks).values()  # the assessor looks through them
    kept = [name for name in manifest.weights if _is_kept(name) or name in asked]
    prompts = [entry.prompt for entry in manifest.degradations] + list(PROMPTS)
    cpu = torch.device("cpu")
    stored = {name: in_half(read_weights(bundle, manifest, name, cpu)) for name in kept}
    networks = {name: rounded(without_words(state, prompts)) for name, state in stored.items()}
    smaller = manifest.model_copy(
        update={
            "networks": _kept_networks(manifest.networks),
            "version": f"{manifest.version}-trimmed",
            "description": f"{manifest.name} trimmed for measuring speed: see benchmarks/gpu_stages/trimmed_bundle.py",
            "golden": None, "weights": {}, "files": {},
        }
    )  # fmt: skip
    written = write_bundle(out, smaller, networks)
    written = golden.record(load_restorer(out, cpu, Speed()), out, written)
    with tarfile.open(archive, "w:bz2") as tar:
        tar.add(out, arcname=manifest.name)
    return written


def left_out(manifest: Manifest) -> list[str]:
    """Returns the names of the specialists that a trimmed copy of this bundle does not have."""
    return [name.removeprefix("specialist-") for name in manifest.weights if not _is_kept(name)]


def _is_kept(network: str) -> bool:
    prefix, _, key = network.partition("specialist-")
    return bool(prefix) or key in KEPT_SPECIALISTS


def _kept_networks(networks: Mapping[str, object]) -> dict[str, object]:
    found = networks.get("specialists")
    if not isinstance(found, Mapping):
        return dict(networks)
    return {**networks, "specialists": {key: value for key, value in found.items() if key in KEPT_SPECIALISTS}}


def without_words(state: Mapping[str, Tensor], prompts: Sequence[str]) -> dict[str, Tensor]:
    """Returns the weights with a zero embedding for each token that no prompt has; networks without text unchanged."""
    embedding = state.get(EMBEDDING)
    if embedding is None or len(embedding) != VOCABULARY:  # or has left words out already
        return dict(state)
    used = tokenize(prompts).unique()
    smaller = torch.zeros_like(embedding)
    smaller[used] = embedding[used]
    return {**state, EMBEDDING: smaller}


def in_half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights with those that were stored in 8 bits in half precision, as all others are."""
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def rounded(state: Mapping[str, Tensor], bits: int = MANTISSA_BITS) -> dict[str, Tensor]:
    """Returns the weights with every matrix in half precision rounded to this many bits of mantissa, ties to even."""
    return {name: _rounded(value, bits) if value.ndim > 1 else value for name, value in state.items()}


def _rounded(value: Tensor, bits: int) -> Tensor:
    if value.dtype != torch.float16:
        return value
    cut = HALF_MANTISSA_BITS - bits
    # As integers, halves of one sign are in order, and a carry out of the mantissa is the next exponent
    levels = value.contiguous().view(torch.int16).to(torch.int32)
    even = (levels + (1 << cut - 1) - 1 + (levels >> cut & 1)) >> cut << cut
    return even.to(torch.int16).view(torch.float16)
