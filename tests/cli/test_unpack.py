"""A bundle in a tar archive, and archives that contain none."""

import io
import os
import tarfile

import pytest


def tar_of(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


@pytest.mark.parametrize("prefix", ["", "./", "some/where/"])
def test_an_archive_becomes_a_bundle(write_registry, undegrade, file_server, bundle_source, home, workplace, prefix):
    content = tar_of(*((prefix + path.name, path.read_bytes()) for path in bundle_source.iterdir()))
    path = write_registry(workplace / "own.toml", kind="archive", files=[file_server.add("tiny.tar.gz", content)])
    result = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert result.code == 0, result.err
    assert undegrade("models", "verify", "tiny").code == 0
    assert sorted(os.listdir(home / "tiny")) == sorted(
        [*(path.name for path in bundle_source.iterdir()), "pulled.json"]
    )


BAD_ARCHIVES = {
    "not a tar file": (b"hello" * 1000, "cannot be unpacked"),
    "cut short": (lambda tar: tar[: len(tar) // 2], "cannot be unpacked"),
    "a link": (tar_of(("bundle.json", b"{}"), ("evil", None)), "contains evil"),
    "a path out of the folder": (tar_of(("bundle.json", b"{}"), ("../evil", b"x")), "contains ../evil"),
    "no manifest": (tar_of(("photo.jpg", b"x")), "contains no bundle.json"),
    "a file twice": (tar_of(("bundle.json", b"{}"), ("bundle.json", b"{}")), "cannot be unpacked"),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_an_invalid_archive_is_refused_and_writes_no_file_elsewhere(
    write_registry, undegrade, file_server, home, workplace, kind
):
    content, message = BAD_ARCHIVES[kind]
    if callable(content):
        content = content(tar_of(("bundle.json", os.urandom(10_000))))
    path = write_registry(workplace / "own.toml", kind="archive", files=[file_server.add("tiny.tar", content)])
    result = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert (result.code, message in result.err, "Traceback" in result.err) == (3, True, False)
    assert not list(workplace.rglob("evil"))
    assert not (home / "tiny").exists()
