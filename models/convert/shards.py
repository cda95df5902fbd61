"""Writing safetensors one tensor at a time, hashed on the way: safetensors' own writer wants a whole file in memory.

The format: eight bytes with the length of a JSON header, the header with every tensor's dtype, shape and place, and
the tensors' bytes one after the other (https://github.com/huggingface/safetensors#format).
"""

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from models.bundle import BundleFile

SHARD_BYTES = 2**31
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tensor that is to be written; `load` gives it, of exactly this shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def shards(entries: Sequence[Entry], limit_bytes: int = SHARD_BYTES) -> Iterator[list[Entry]]:
    """The entries in order, cut into files of at most so many bytes; a larger tensor gets one of its own."""
    shard: list[Entry] = []
    for entry in entries:
        if shard and sum(other.bytes for other in shard) + entry.bytes > limit_bytes:
            yield shard
            shard = []
        shard.append(entry)
    if shard:
        yield shard


def write_shard(path: Path, entries: Sequence[Entry], on_bytes: Callable[[int], None]) -> BundleFile:
    """Write a file and say what it is; `on_bytes` hears of every tensor."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in _parts(entries, on_bytes):
            digest.update(part)
            file.write(part)
    path.chmod(0o644)
    return BundleFile(bytes=path.stat().st_size, sha256=digest.hexdigest())


def _parts(entries: Sequence[Entry], on_bytes: Callable[[int], None]) -> Iterator[bytes | memoryview]:
    header, at = {}, 0
    for entry in entries:
        header[entry.name] = {
            "dtype": NAMES[entry.dtype], "shape": list(entry.shape), "data_offsets": [at, at + entry.bytes]
        }  # fmt: skip
        at += entry.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the first tensor is aligned
    yield struct.pack("<Q", len(text)) + text
    for entry in entries:
        tensor = entry.load()
        assert (tuple(tensor.shape), tensor.dtype) == (entry.shape, entry.dtype), entry.name
        yield tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
        on_bytes(entry.bytes)
