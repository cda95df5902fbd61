"""Registries: TOML files that list the bundles that `undegrade models pull` can download.

An entry has a license, terms, and files with URL, size and sha256.  There are three kinds of entries:

    bundle      the files of a bundle; bundle.json is enough, because it names the other files and their hashes
    archive     one tar file that contains a bundle
    checkpoint  the authors' file or files, which are converted to a bundle

A hash must be complete, because an incomplete one proves nothing.
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
"""A bundle or file name that is not a path, not hidden, and valid on every file system."""
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class RemoteFile(BaseModel):
    """The URL, size and hash of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    url: str = Field(pattern=r"^https?://[^\s/]+/\S*$")
    sha256: Sha256
    bytes: int = Field(gt=0)

    @property
    def place(self) -> str:
        """The URL without user name, password and query, so that it can be printed and logged."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def beside(self, name: str, sha256: str, size_bytes: int) -> "RemoteFile":
        """Returns another file in the same remote folder, with the same query."""
        query = urlsplit(self.url).query
        url = urljoin(self.url, name) + (f"?{query}" if query else "")
        return RemoteFile(name=name, url=url, sha256=sha256, bytes=size_bytes)


class Entry(BaseModel):
    """The files of one name and their license.  `terms` is a text that the user must accept in addition."""

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
            raise ValueError(f"file names must be unique, and none may be {RECORD}")
        if self.kind == "bundle" and MANIFEST not in named:
            raise ValueError(f"an entry of kind 'bundle' must list {MANIFEST}")
        if self.kind == "archive" and len(named) != 1:
            raise ValueError(f"got {len(named)} files, expected one for an archive")
        if (self.kind == "checkpoint") != (self.family is not None):
            raise ValueError("a checkpoint must have a family, other kinds must not")
        return self


class Registry(BaseModel):
    """The content of a registry file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(default=1, ge=1, le=1)
    models: dict[Name, Entry] = Field(default_factory=dict)

    def find(self, name: str, path: Path) -> Entry:
        """Returns the entry of a name; `path` is the registry's file, for the error message.

        Raises:
            BundleError: there is no such entry; the message lists the names.
        """
        if name in self.models:
            return self.models[name]
        raise BundleError(
            f"the registry {path} has no bundle {name!r}; it has: {', '.join(sorted(self.models)) or 'none'}. "
            "Choose another registry with --registry or UNDEGRADE_REGISTRY."
        )


def read_registry(path: Path) -> Registry:
    """Read and validate a registry.

    Raises:
        ControlsError: the file cannot be read, is not TOML, or has a wrong field, which the message names.
    """
    try:
        return Registry.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ControlsError(
            f"cannot read the registry {path}: {error.strerror}. Choose another with --registry."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ControlsError(f"the registry {path} is not TOML: {error}. docs/models.md has an example.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ControlsError(
            f"the registry {path}: {where}: {first['msg']}. See docs/models.md for an example."
        ) from error
