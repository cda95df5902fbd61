"""Turns a TensorFlow.js graph model, which jax2tf made from Flax, into tensors with the names and layouts of a module.

`weightsManifest` lists constants in the order of their bytes, over the borders of the shards.  The parameters are the
constants with more than one float32 value; the others are shapes and factors of operations.  A constant's name carries
the module's path, except those of dense kernels: their path is that of the one Einsum that takes them.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import BundleError

BACKBONE = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"
EINSUM = "/einsum/Einsum"
ARGUMENT = re.compile(r"StatefulPartitionedCall/jax2tf_arg_\d+/ReadVariableOp")
NUMBER = re.compile(r"shard(\d+)of")
BYTES = {"float32": 4, "int32": 4}
NORMS = ("LayerNorm", "LayerNorm_in", "LayerNorm_x", "LayerNorm_y", "intermediate_layernorm")
OTHER_MODEL = "It belongs to another model or version."

Array = NDArray[np.float32]


def graph_tensors(model: Mapping[str, Any], shards: Mapping[str, bytes]) -> dict[str, Tensor]:
    """Returns the parameters by their paths, with dots: "stage_0_input_conv_0.weight".

    Args:
        model: the content of model.json.
        shards: the weight files by their names.

    Raises:
        BundleError: the model is of another kind, is quantized, or does not fit its shards.
    """
    try:
        if model["format"] != "graph-model":
            raise BundleError(f"the model has the format {model['format']!r}, expected 'graph-model'. {OTHER_MODEL}")
        kernels = {node["input"][1]: node["name"] for node in model["modelTopology"]["node"] if node["op"] == "Einsum"}
        found = [
            tensor_of(name, values, kernels)
            for group in model["weightsManifest"] for name, values in _constants(group, shards)
        ]  # fmt: skip
    except (KeyError, TypeError, IndexError) as error:
        raise BundleError(f"models/model.json is no graph model: {error!r} is missing. {OTHER_MODEL}") from error
    return dict(found)


def _constants(group: Mapping[str, Any], shards: Mapping[str, bytes]) -> Iterator[tuple[str, Array]]:
    """Yields the name and values of each parameter of a group of shards."""
    data, offset = _joined(group["paths"], shards), 0
    for constant in group["weights"]:
        name, dtype, shape = constant["name"], constant["dtype"], constant["shape"]
        if "quantization" in constant:
            raise BundleError(f"{name} is quantized, expected float32. {OTHER_MODEL}")
        if dtype not in BYTES:
            raise BundleError(f"{name} has the type {dtype}, expected {' or '.join(BYTES)}. {OTHER_MODEL}")
        count = math.prod(shape)
        end = offset + count * BYTES[dtype]
        if end > len(data):
            raise BundleError(f"the shards end at byte {len(data)}, within {name}. The file is incomplete.")
        if dtype == "float32" and count > 1:
            yield name, np.frombuffer(data, "<f4", count, offset).reshape(shape)
        offset = end
    if offset != len(data):
        raise BundleError(f"the shards have {len(data)} bytes, expected {offset}. The file is damaged.")


def _joined(paths: Sequence[str], shards: Mapping[str, bytes]) -> bytearray:
    """Returns the bytes of a group in the manifest's order; sorted names have shard10 before shard2."""
    numbers = [int(match[1]) for path in paths if (match := NUMBER.search(path))]
    if numbers != list(range(1, len(paths) + 1)):
        raise BundleError("models/model.json lists its shards in a wrong order. The file is damaged.")
    data = bytearray()
    for path in paths:
        if path not in shards:
            raise BundleError(f"the shard {path} is missing. The file is incomplete.")
        data += shards[path]
    return data


def tensor_of(name: str, values: Array, kernels: Mapping[str, str]) -> tuple[str, Tensor]:
    """Returns the name and tensor of a parameter, in torch's layout; a 1 x 1 convolution becomes a matrix."""
    if ARGUMENT.fullmatch(name):
        path, kind = kernels.get(name, "").removesuffix(EINSUM), "kernel"
    else:
        path, _, kind = name.rpartition("/")
    if not path.startswith(BACKBONE):
        raise BundleError(f"the constant {name} has no place in MAXIM. {OTHER_MODEL}")
    path = path.removeprefix(BACKBONE)
    leaf, changed = _changed(path.rpartition("/")[2], kind, values)
    if leaf is None:
        raise BundleError(f"the constant {name} has no place in MAXIM. {OTHER_MODEL}")
    return f"{path.replace('/', '.')}.{leaf}", torch.tensor(np.ascontiguousarray(changed))


def _changed(module: str, kind: str, values: Array) -> tuple[str | None, Array]:
    """Returns "weight" or "bias" and the values in torch's layout; None where there is no such constant."""
    if kind == "kernel" and values.ndim == 2:  # (in, out)
        return "weight", values.T
    if values.ndim == 4 and kind == "transpose_3":  # (height, width, in, out)
        plain = values.shape[:2] == (1, 1)
        return "weight", values[0, 0].T if plain else values.transpose(3, 2, 0, 1)
    if values.ndim == 4 and kind == "transpose_4":  # (height, width, out, in) of a transposed convolution
        return "weight", values.transpose(3, 2, 0, 1)
    norm = module in NORMS
    if kind == ("Reshape_3" if norm else "Reshape"):
        return "bias", values.reshape(-1)
    if norm and kind == "Reshape_2":
        return "weight", values.reshape(-1)
    return None, values
