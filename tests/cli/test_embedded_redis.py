"""The embedded Valkey keeps its data, has its folder for itself, and ends with its parent."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from redis import Redis

from cli.embedded_redis import EmbeddedRedis
from models.errors import ControlsError


def test_data_survive_a_kill_of_the_server(tmp_path):
    with EmbeddedRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
        client.set("job", "queued")
        assert client.execute_command("WAITAOF", 1, 0, 0) == [1, 0]  # on disk
        redis._process.kill()
        redis._process.wait()
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
        assert psutil.Process(redis._process.pid).net_connections("tcp") == []
        assert oct(os.stat(redis.url.removeprefix("unix://")).st_mode)[-3:] == "700"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl of Linux")
def test_the_server_ends_when_its_parent_is_killed(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from cli.embedded_redis import EmbeddedRedis\n"
        "with EmbeddedRedis(Path(sys.argv[1])) as redis:\n"
        "    print(redis._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        server = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs([server], timeout=20)
    assert alive == []
