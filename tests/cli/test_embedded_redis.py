"""`serve`'s own Valkey: it keeps what it was told, is alone on its folder, and ends with its parent."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from redis import Redis

from cli.embedded_redis import EmbeddedRedis
from models.errors import ControlsError


def test_what_it_was_told_survives_a_kill(tmp_path):
    with EmbeddedRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
        client.set("job", "queued")
        time.sleep(1.1)  # appendfsync everysec
        redis._process.kill()
        redis._process.wait()
        assert not redis.running()
        redis.start()
        assert client.get("job") == b"queued"


def test_what_it_was_told_survives_the_command(tmp_path):
    for expected in (None, b"1"):
        with EmbeddedRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
            assert client.get("job") == expected
            client.set("job", "1")


def test_a_second_one_on_its_folder_is_refused(tmp_path):
    with (
        EmbeddedRedis(tmp_path),
        pytest.raises(ControlsError, match=r"another .* uses .*--data"),
        EmbeddedRedis(tmp_path),
    ):
        pass
    with EmbeddedRedis(tmp_path):  # the lock has gone with the first
        pass


def test_nothing_of_it_can_be_reached_over_the_network(tmp_path):
    with EmbeddedRedis(tmp_path) as redis:
        assert redis.url.startswith("unix://")
        assert psutil.Process(redis._process.pid).net_connections("tcp") == []
        assert oct(os.stat(redis.url.removeprefix("unix://")).st_mode)[-3:] == "700"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_it_ends_when_its_parent_is_killed(tmp_path):
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
