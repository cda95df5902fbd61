"""Registries: TOML files that list the bundles that `undegrade models pull` can download.

An entry has a license, terms, and files with their source, size and sha256.  There are three kinds of entries:

    bundle      the files of a bundle; bundle.json is enough, because it names the other files and their hashes
    archive     one tar file that contains a bundle
    checkpoint  the authors' file or files, which are converted to a bundle

A hash must be complete, because an incomplete one proves nothing.
"""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import BundleError, ControlsError
from models.folders import MANIFEST
from models.registry_files import ListedFile, Name, PypiFile, RemoteFile

RECORD = "pulled.json"
SHIPPED_REGISTRY = Path(__file__).parent / "registry.toml"


class Entry(BaseModel):
    """The files of one name and their license.

    Attributes:
        terms: a text that the user must accept in addition.
        credit: whom to name beside results, where the license or good manners ask for it; the bundle keeps it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["bundle", "archive", "checkpoint"]
    description: str
    license: str = Field(min_length=1)
    terms: str = ""
    credit: str = ""
    family: str | None = None
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    files: tuple[ListedFile, ...] = Field(min_length=1)

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
        if self.kind == "bundle" and not all(isinstance(file, RemoteFile) for file in self.files):
            raise ValueError("the files of an entry of kind 'bundle' must have URLs; a package is an archive")
        if self.kind == "archive" and (len(named) != 1 or isinstance(self.files[0], PypiFile)):
            raise ValueError("an archive must be one tar file, at a URL or in a package of npm")
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
