"""The folder of downloaded bundles: interrupted downloads, two processes at once, replacing and removing."""

import os
import shutil
import signal
import threading
import time

import pytest


def wait_until(condition):
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_download_leaves_no_bundle_and_is_resumed(
    undegrade, file_server, stocked, start_process, home, number
):
    file_server.hold = threading.Event()
    process = start_process("models", "pull", "tiny", "--accept-license")
    part = home / ".downloads" / "tiny" / "bundle.json.part"
    wait_until(lambda: part.is_file() and part.stat().st_size)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err.decode()
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert "tiny" not in undegrade("models", "list").text
    received = part.stat().st_size
    file_server.hold.set()
    file_server.requests.clear()
    assert undegrade("models", "pull", "tiny", "--accept-license").code == 0
    assert file_server.requests[0] == ("/bundle.json", f"bytes={received}-", '"one"')
    assert undegrade("models", "verify", "tiny").code == 0


def test_two_processes_download_a_bundle_once(undegrade, file_server, stocked, start_process):
    file_server.hold = threading.Event()
    first = start_process("models", "pull", "tiny", "--accept-license")
    wait_until(lambda: file_server.requests)
    second = start_process("models", "pull", "tiny", "--accept-license")
    assert b"another process is downloading tiny" in second.stderr.readline()
    locked = undegrade("models", "rm", "tiny")
    assert (locked.code, "is being downloaded" in locked.err) == (2, True)
    file_server.hold.set()
    errors = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert b"is already installed" in errors[1]
    assert sorted(path for path, *_ in file_server.requests) == sorted(file_server.files)
    assert undegrade("models", "verify", "tiny").code == 0


def test_a_bundle_that_was_not_downloaded_is_neither_replaced_nor_removed(
    undegrade, file_server, stocked, bundle_source, home
):
    shutil.copytree(bundle_source, home / "tiny")
    assert undegrade("models", "pull", "tiny", "--accept-license").code == 0
    assert undegrade("models", "pull", "tiny", "--force", "--accept-license").code == 2
    assert undegrade("models", "rm", "tiny").code == 3
    assert (home / "tiny" / "bundle.json").is_file()
    assert file_server.requests == []


def test_rm_removes_a_downloaded_bundle_and_an_unfinished_download(undegrade, file_server, stocked, home):
    undegrade("models", "pull", "tiny", "--accept-license")
    assert undegrade("models", "rm", "tiny").code == 0
    assert not (home / "tiny").exists()
    del file_server.files["/scm.safetensors"]
    undegrade("models", "pull", "tiny", "--accept-license")
    assert undegrade("models", "rm", "tiny").code == 0
    assert os.listdir(home / ".downloads") == ["tiny.lock"]
    assert undegrade("models", "rm", "tiny").code == 3


@pytest.mark.parametrize("name", ["autodir-small", "../data", ".downloads", "/", "."])
def test_rm_removes_nothing_else(undegrade, stocked, home, workplace, name):
    undegrade("models", "pull", "tiny", "--accept-license")
    assert undegrade("models", "rm", name).code in (2, 3)
    assert (home / "tiny" / "bundle.json").is_file()
