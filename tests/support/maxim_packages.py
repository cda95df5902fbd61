"""Writes packages like those of the npm registry that hold MAXIM: a TensorFlow.js graph model in a gzipped tar file."""

import gzip
import io
import json
import math
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

BACKBONE = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"
EINSUM = "/einsum/Einsum"
CONSTANTS = Path(__file__).parents[1] / "parity" / "maxim"
Arrays = Mapping[str, np.ndarray]
"""By the path of the constant, without BACKBONE; a dense kernel by that of its Einsum."""


def released_constants(stages: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the path and shape of each parameter of the released networks."""
    for line in (CONSTANTS / f"constants_{stages}_stages.tsv").read_text().splitlines():
        path, shape = line.split("\t")
        yield path, tuple(json.loads(shape))


def graph_model(arrays: Arrays, shard_bytes: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Returns model.json and the shards.  A scalar and an int32 shape between the parameters stand for the others."""
    entries: list[dict[str, Any]] = [{"name": "a/Const", "shape": [], "dtype": "float32"}]
    data, nodes = bytearray(np.float32(0.5).tobytes()), []
    for number, (path, values) in enumerate(arrays.items()):
        name = BACKBONE + path
        if path.endswith(EINSUM):
            argument = f"StatefulPartitionedCall/jax2tf_arg_{number}/ReadVariableOp"
            nodes.append({"name": name, "op": "Einsum", "input": ["x", argument]})
            name = argument
        entries.append({"name": name, "shape": list(values.shape), "dtype": "float32"})
        data += values.astype("<f4").tobytes()
    entries.append({"name": "a/shape", "shape": [4], "dtype": "int32"})
    data += np.arange(4, dtype="<i4").tobytes()
    count = max(1, math.ceil(len(data) / shard_bytes))
    paths = [f"group1-shard{index + 1}of{count}.bin" for index in range(count)]
    shards = {path: bytes(data[i * shard_bytes : (i + 1) * shard_bytes]) for i, path in enumerate(paths)}
    model = {
        "format": "graph-model", "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": paths, "weights": entries}],
    }  # fmt: skip
    return model, shards


def write_package(
    path: Path, model: object, shards: Mapping[str, bytes], name: str = "@upscalerjs/maxim-deraining"
) -> Path:
    """Write a .tgz, with its members in the order that npm writes: the shards by name, then model.json."""
    members = {f"package/models/{file}": shards[file] for file in sorted(shards)}
    members["package/models/model.json"] = json.dumps(model).encode()
    members["package/README.md"] = b"MAXIM"
    members["package/package.json"] = json.dumps({"name": name, "version": "0.1.0"}).encode()
    with gzip.open(path, "wb", compresslevel=1) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for member, data in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path
