"""Registry files of `undegrade models pull`: the shipped one, invalid ones, and the one in the documentation."""

import json
import re
from pathlib import Path

import pytest

from models.convert.license import TERMS
from models.registry import SHIPPED_REGISTRY, read_registry
from models.registry_files import RemoteFile


def test_the_shipped_registry_lists_families_that_can_be_converted_and_names_no_host(undegrade, home):
    known = read_registry(SHIPPED_REGISTRY)
    assert {entry.family for entry in known.models.values()} <= {None, *TERMS}
    assert all(not isinstance(file, RemoteFile) for entry in known.models.values() for file in entry.files)
    rows = [json.loads(line) for line in undegrade("models", "pull", "--list", "--json").text.splitlines()]
    (maxim,) = (row for row in rows if row["name"] == "maxim")
    assert (maxim["installed"], maxim["bytes"]) == ("no", 298_066_046)
    assert "google-research/maxim" in maxim["credit"] and "Kevin Scott" in maxim["credit"]


def test_an_unknown_name_is_answered_with_the_names(undegrade, home):
    result = undegrade("models", "pull", "nothing", "--accept-license")
    assert (result.code, "it has: dat, maxim" in result.err, "UNDEGRADE_REGISTRY" in result.err) == (3, True, True)


def test_an_empty_registry_gives_advice(undegrade, home, workplace):
    (workplace / "own.toml").write_text("format = 1")
    assert "is empty" in undegrade("models", "pull", "--list", "--registry", "own.toml").err


NPM_FILE = {
    "source": "npm", "name": "a.tgz", "package": "a", "version": "1.0.0", "integrity": "sha512-" + "A" * 86 + "==",
    "sha256": "0" * 64, "bytes": 1,
}  # fmt: skip
PACKAGES = {
    "another source": ({"kind": "archive"}, {"source": "gem"}, "'gem'"),
    "half an integrity": ({"kind": "archive"}, {"integrity": "sha512-AAAA"}, "integrity"),
    "a range of versions": ({"kind": "archive"}, {"version": "^1.0.0"}, "version"),
    "a URL beside a package": ({"kind": "archive"}, {"url": "https://host/a.tgz"}, "url"),
    "the manifest in a package": ({"kind": "bundle"}, {"name": "bundle.json"}, "must have URLs"),
    "a wheel as an archive": (
        {"kind": "archive"},
        {"source": "pypi", "name": "a-1-py3-none-any.whl", "version": "1", "integrity": None},
        "must be one tar file",
    ),
}


@pytest.mark.parametrize("kind", PACKAGES)
def test_an_invalid_field_of_a_package_is_named(undegrade, home, workplace, kind):
    entry, changes, named = PACKAGES[kind]
    file = {name: value for name, value in {**NPM_FILE, **changes}.items() if value is not None}
    fields = {"description": "", "license": "MIT", **entry}
    lines = ["[models.tiny]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    lines += ["[[models.tiny.files]]", *(f"{key} = {json.dumps(value)}" for key, value in file.items())]
    (workplace / "own.toml").write_text("\n".join(lines))
    result = undegrade("models", "pull", "tiny", "--registry", "own.toml")
    assert (result.code, named in result.err, "Traceback" in result.err) == (2, True, False), result.err


VALID_FILE = {"name": "bundle.json", "url": "https://host/bundle.json", "sha256": "0" * 64, "bytes": 1}


INVALID = {
    "half a hash": ({}, {"sha256": "ea948854d4293f2d"}, "sha256"),
    "a path": ({}, {"name": "../bundle.json"}, "name"),
    "a hidden file": ({}, {"name": ".bundle.json"}, "name"),
    "another scheme": ({}, {"url": "file:///etc/passwd"}, "url"),
    "no size": ({}, {"bytes": 0}, "bytes"),
    "a misspelled field": ({"licens": "MIT"}, {}, "licens"),
    "no license": ({"license": ""}, {}, "license"),
    "another kind": ({"kind": "zip"}, {}, "kind"),
    "a checkpoint without a family": ({"kind": "checkpoint"}, {}, "family"),
    "no manifest": ({}, {"name": "other.json"}, "bundle.json"),
}


@pytest.mark.parametrize("kind", INVALID)
def test_an_invalid_field_of_a_registry_is_named(write_registry, undegrade, home, workplace, kind):
    entry, file, named = INVALID[kind]
    files = [RemoteFile.model_construct(**{**VALID_FILE, **file})]
    path = write_registry(workplace / "own.toml", **{"kind": "bundle", **entry}, files=files)
    result = undegrade("models", "pull", "tiny", "--registry", path)
    assert (result.code, named in result.err, "Traceback" in result.err) == (2, True, False)


def test_a_file_that_is_not_a_registry_is_reported(undegrade, home, workplace):
    (workplace / "own.toml").write_text("<html>")
    assert "is not TOML" in undegrade("models", "pull", "a", "--registry", "own.toml").err
    assert "cannot read the registry gone.toml" in undegrade("models", "pull", "a", "--registry", "gone.toml").err


def test_the_registry_in_the_documentation_is_valid(workplace):
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (workplace / "own.toml").write_text(block)
    assert {entry.kind for entry in read_registry(workplace / "own.toml").models.values()} >= {"bundle", "checkpoint"}
