"""Registries: a TOML file that says, name by name, what can be fetched: files with address, size and sha256, and terms.

An entry becomes a bundle in one of three ways.  `bundle`: its files are the bundle's; only bundle.json need be listed,
which names the others with their hashes.  `archive`: one tar file that holds a bundle.  `checkpoint`: the authors' file
or files, which are converted.  A hash is whole or the entry is refused: half a hash proves nothing.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from models.errors import BundleError, ControlsError
from models.folders import MANIFEST

RECORD = "pulled.json"
SHIPPED_REGISTRY = Path(__file__).parent / "registry.toml"

PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$"
Name = Annotated[str, StringConstraints(pattern=PLAIN_NAME)]
"""Of a bundle or a file: one that is no path, hides nothing and means the same on every disk."""
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class RemoteFile(BaseModel):
    """A file, where it is, and what it must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    url: str = Field(pattern=r"^https?://[^\s/]+/\S*$")
    sha256: Sha256
    bytes: int = Field(gt=0)

    @property
    def place(self) -> str:
        """The address as it may be shown: without a name, a password or a signed query."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def beside(self, name: str, sha256: str, size_bytes: int) -> "RemoteFile":
        """Another file of the same folder; it is asked for with the same query."""
        query = urlsplit(self.url).query
        url = urljoin(self.url, name) + (f"?{query}" if query else "")
        return RemoteFile(name=name, url=url, sha256=sha256, bytes=size_bytes)


class Entry(BaseModel):
    """What a name stands for.  `terms` is what must be accepted beyond the license's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["bundle", "archive", "checkpoint"]
    description: str
    license: str = Field(min_length=1)
    terms: str = ""
    family: str | None = None
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    files: tuple[RemoteFile, ...] = Field(min_length=1)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "Entry":
        named = [file.name for file in self.files]
        if len(set(named)) < len(named) or RECORD in named:
            raise ValueError(f"files want names of their own, and none may be {RECORD}")
        if self.kind == "bundle" and MANIFEST not in named:
            raise ValueError(f"a bundle has a file {MANIFEST}")
        if self.kind == "archive" and len(named) != 1:
            raise ValueError("an archive is one file")
        if (self.kind == "checkpoint") != (self.family is not None):
            raise ValueError("a checkpoint has a family, and nothing else has")
        return self


class Registry(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(default=1, ge=1, le=1)
    models: dict[Name, Entry] = Field(default_factory=dict)

    def find(self, name: str, path: Path) -> Entry:
        """The entry of a name.

        Raises:
            BundleError: there is none; the message lists those that there are.
        """
        if name in self.models:
            return self.models[name]
        raise BundleError(
            f"the registry {path} has no {name!r}; it has: {', '.join(sorted(self.models)) or 'nothing'}. "
            "Give another with --registry or UNDEGRADE_REGISTRY."
        )


def read_registry(path: Path) -> Registry:
    """Read a registry.

    Raises:
        ControlsError: it cannot be read, is no TOML, or has a wrong field (named).
    """
    try:
        return Registry.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ControlsError(f"cannot read the registry {path}: {error.strerror}. Give another --registry.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ControlsError(f"the registry {path} is no TOML: {error}. docs/models.md shows one.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ControlsError(f"the registry {path}: {where}: {first['msg']}. docs/models.md shows one.") from error
