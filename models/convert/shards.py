"""Writes safetensors files one tensor at a time and hashes them; safetensors' own writer needs all tensors in memory.

A file is eight bytes with the length of the JSON header, the header with the dtype, shape and offsets of each tensor,
and the bytes of the tensors (https://github.com/huggingface/safetensors#format).
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
"""The default limit of a file, 2.1 GB."""
DTYPE_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True, kw_only=True)
class PlannedTensor:
    """A tensor to write; `load` returns it, with exactly this shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def write_shard(path: Path, tensors: Sequence[PlannedTensor], on_bytes: Callable[[int], None]) -> BundleFile:
    """Write a file and return its size and hash; `on_bytes` is called with the bytes of each tensor."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in _parts(tensors, on_bytes):
            digest.update(part)
            file.write(part)
    path.chmod(0o644)
    return BundleFile(bytes=path.stat().st_size, sha256=digest.hexdigest())


def _parts(tensors: Sequence[PlannedTensor], on_bytes: Callable[[int], None]) -> Iterator[bytes | memoryview]:
    header, start = {}, 0
    for planned in tensors:
        end = start + planned.bytes
        header[planned.name] = {
            "dtype": DTYPE_NAMES[planned.dtype], "shape": list(planned.shape), "data_offsets": [start, end]
        }  # fmt: skip
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # aligns the first tensor
    yield struct.pack("<Q", len(text)) + text
    for planned in tensors:
        tensor = planned.load()
        assert (tuple(tensor.shape), tensor.dtype) == (planned.shape, planned.dtype), planned.name
        yield tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
        on_bytes(planned.bytes)
