"""Listening on a Unix socket: one server at a time, and no trace of a dead one."""

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from cli.listening import ListenError
from cli.unix_socket import listen_on_socket, socket_mode


@pytest.fixture
def folder():
    """A folder with a short path, as a socket needs."""
    with tempfile.TemporaryDirectory(prefix="us-", dir="/tmp") as name:
        yield Path(name)


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return True


@pytest.mark.parametrize("mode", ["600", "660", "0666"])
def test_a_socket_has_its_mode_is_reached_and_disappears(folder, mode):
    path = folder / "api"
    with listen_on_socket(path, socket_mode(mode)):
        assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8) and connect(path)
    assert list(folder.iterdir()) == []


def test_a_second_server_is_refused_and_the_first_goes_on(folder):
    path = folder / "api"
    with listen_on_socket(path, 0o600):
        with pytest.raises(ListenError, match="another server listens"), listen_on_socket(path, 0o600):
            pass
        assert connect(path)


def test_the_socket_of_a_killed_server_is_replaced(folder):
    path = folder / "api"
    pid = os.fork()
    if pid == 0:
        with listen_on_socket(path, 0o600):
            os._exit(0)  # as kill -9: nothing is removed
    os.waitpid(pid, 0)
    assert path.exists()
    with pytest.raises(ConnectionRefusedError):
        connect(path)
    with listen_on_socket(path, 0o600):
        assert connect(path)


def test_the_socket_of_another_program_and_other_files_stay(folder):
    path, text = folder / "theirs", folder / "text"
    text.write_text("precious")
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(path))
        theirs.listen()
        with pytest.raises(ListenError, match="another program listens"), listen_on_socket(path, 0o600):
            pass
        assert connect(path)
    with pytest.raises(ListenError, match="not a socket"), listen_on_socket(text, 0o600):
        pass
    assert text.read_text() == "precious"


@pytest.mark.parametrize(("name", "cause"), [("x" * 110, "more than 107 bytes"), ("none/api", "folder that exists")])
def test_a_path_that_cannot_be_used_is_explained(folder, name, cause):
    with pytest.raises(ListenError, match=cause), listen_on_socket(folder / name, 0o600):
        pass


@pytest.mark.parametrize("mode", ["", "rw", "1777", "888", "66", "-660"])
def test_a_mode_that_is_none_is_an_error(mode):
    with pytest.raises(ValueError, match="660"):
        socket_mode(mode)


def test_a_bad_mode_ends_the_command_with_a_usage_error(undegrade, folder):
    result = undegrade("api", "--unix-socket", folder / "api", "--unix-socket-mode", "rw")
    assert result.code == 2 and "--unix-socket-mode" in result.err and list(folder.iterdir()) == []


def test_health_asks_at_a_socket_and_says_where_nobody_answers(undegrade, folder):
    result = undegrade("health", "api", "--unix-socket", folder / "api")
    assert result.code == 1 and f"{folder}/api" in result.err and "on this socket?" in result.err
