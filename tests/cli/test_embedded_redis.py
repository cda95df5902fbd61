"""The embedded Valkey keeps its data, has its folder for itself, and ends with its parent."""

import os
import signal
import subprocess
import sys
import tempfile
import time

import psutil
import pytest
from redis import Redis

from cli import embedded_redis
from cli.embedded_redis import EmbeddedRedis, EmbeddedRedisError, StartWait, server_on
from models.errors import ControlsError


def test_data_survive_a_kill_of_the_server(tmp_path):
    with EmbeddedRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
        client.set("job", "queued")
        assert client.execute_command("WAITAOF", 1, 0, 0) == [1, 0]  # on disk
        redis.process.kill()
        redis.process.wait()
        assert not redis.running()
        redis.start()
        assert client.get("job") == b"queued"


def test_data_survive_a_restart(tmp_path):
    for expected in (None, b"1"):
        with EmbeddedRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
            assert client.get("job") == expected
            client.set("job", "1")


def test_a_second_server_on_the_same_folder_is_refused(tmp_path):
    with (
        EmbeddedRedis(tmp_path),
        pytest.raises(ControlsError, match=r"another .* uses .*--data"),
        EmbeddedRedis(tmp_path),
    ):
        pass
    with EmbeddedRedis(tmp_path):  # the first one has released the lock
        pass


def test_the_server_does_not_listen_on_the_network(tmp_path):
    with EmbeddedRedis(tmp_path) as redis:
        assert redis.url.startswith("unix://")
        assert psutil.Process(redis.process.pid).net_connections("tcp") == []
        assert oct(os.stat(redis.url.removeprefix("unix://")).st_mode)[-3:] == "700"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl of Linux")
def test_the_server_ends_when_its_parent_is_killed(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from cli.embedded_redis import EmbeddedRedis\n"
        "with EmbeddedRedis(Path(sys.argv[1])) as redis:\n"
        "    print(redis.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        server = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs([server], timeout=20)
    assert alive == []


FAKE = """#!{python}
import socket, sys, time
path = sys.argv[sys.argv.index("--unixsocket") + 1]
start, listener = time.monotonic(), socket.socket(socket.AF_UNIX)
listener.bind(path); listener.listen()
while True:
    client = listener.accept()[0]
    while words := client.recv(4096):
        loading = time.monotonic() - start < {seconds}
        answer = {loading!r} if loading else b"+PONG\\r\\n"
        if b"HELLO" in words:
            answer = b"%1\\r\\n$5\\r\\nproto\\r\\n:3\\r\\n"
        client.sendall(answer * words.count(b"*"))
"""
"""A server that gives one answer for some seconds, and PONG afterwards."""


@pytest.fixture
def fake_server(tmp_path, monkeypatch):
    def install(seconds, loading):
        program = tmp_path / "server"
        program.write_text(FAKE.format(python=sys.executable, seconds=seconds, loading=loading))
        program.chmod(0o700)
        monkeypatch.setattr(embedded_redis, "get_binary_path", lambda: program)
        monkeypatch.setattr(embedded_redis, "SILENT_S", 0.8)
        monkeypatch.setattr(embedded_redis, "NEWS_S", 0.3)

    return install


def test_a_server_that_loads_its_data_is_waited_for_and_the_user_hears_of_it(fake_server, tmp_path):
    fake_server(2, b"-LOADING Valkey is loading the dataset in memory\r\n")
    server, said = EmbeddedRedis(tmp_path / "data"), []
    try:
        server.open()
        server.spawn()
        wait = StartWait(server, said.append)
        while not wait.over():
            time.sleep(0.05)
    finally:
        server.__exit__(None, None, None)
    assert len(said) >= 2  # in 2 s, although a silent server is given up after 0.8 s


def test_a_server_without_a_sign_of_life_is_given_up(fake_server, tmp_path):
    fake_server(60, b"-ERR not now\r\n")
    with pytest.raises(EmbeddedRedisError, match=r"does not answer; see .*valkey\.log"):
        EmbeddedRedis(tmp_path / "data").__enter__()


def test_damaged_data_are_reported_with_the_words_of_the_server(tmp_path):
    with EmbeddedRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
        client.set("job", "queued")
    manifest = tmp_path / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("nonsense\n")
    with pytest.raises(EmbeddedRedisError, match=r"ended with code 1; see .*valkey\.log.*manifest"):
        EmbeddedRedis(tmp_path).__enter__()
    with EmbeddedRedis(tmp_path / "other"):  # the failed one has left nothing behind
        pass


@pytest.mark.parametrize("name", ["t" * 120, "with space", "100%41#?&", "\udcff\udcfe", "a\nb", "ümlaut"])
def test_any_place_for_temporary_files_is_usable(tmp_path, monkeypatch, name):
    place = tmp_path / name
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with EmbeddedRedis(tmp_path / "data") as redis, Redis.from_url(redis.url) as client:
        assert client.ping()
        with server_on(tmp_path / "data") as url, Redis.from_url(url) as second:  # the way of `undegrade keys`
            assert second.ping()
