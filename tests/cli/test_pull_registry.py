"""Registry files of `undegrade models pull`: the shipped one, invalid ones, and the one in the documentation."""

import re
from pathlib import Path

import pytest

from models.registry import SHIPPED_REGISTRY, read_registry
from models.registry_files import RemoteFile


def test_the_shipped_registry_is_valid_and_an_empty_one_gives_advice(undegrade, home):
    read_registry(SHIPPED_REGISTRY)
    result = undegrade("models", "pull", "nothing", "--accept-license")
    assert result.code == 3
    assert "UNDEGRADE_REGISTRY" in result.err


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
