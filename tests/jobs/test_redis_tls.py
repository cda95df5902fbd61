"""TLS to the server and to the Sentinels, with the authority's certificate in the URL."""

import asyncio

import pytest
from redis.exceptions import ConnectionError
from sentinel_trio import SERVICE, SentinelTrio, Server
from tls_front import Authority, TlsFront

from jobs.redis_client import open_blocking_redis, open_redis
from worker.errors import RedisRefused
from worker.redis_client import check_access, connect


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def encrypted(tmp_path, authority):
    """A server behind TLS: its port there, and the front."""
    server = Server(tmp_path, "one")
    front = TlsFront(authority.context, server.port)
    yield front
    front.close()
    server.kill()


def test_a_server_with_tls_is_used_with_the_certificate_of_its_authority(encrypted, authority):
    url = f"valkeys://127.0.0.1:{encrypted.port}/0?ssl_ca_certs={authority.path}"

    async def scenario():
        async with open_redis(url) as redis:
            await redis.set("a", 1)
            assert await redis.get("a") == b"1"

    asyncio.run(scenario())
    client = open_blocking_redis(url, answer_s=3)
    assert client.get("a") == b"1"
    client.close()
    assert encrypted.encrypted == 2


def refusal_of(url: str) -> str:
    async def scenario():
        client = connect(url)
        try:
            await check_access(client)
        finally:
            await client.aclose()

    with pytest.raises(RedisRefused) as refused:
        asyncio.run(scenario())
    return str(refused.value)


def test_an_unknown_authority_ends_a_worker_and_says_which_word_is_missing(encrypted):
    assert "ssl_ca_certs" in refusal_of(f"rediss://:SECRET@127.0.0.1:{encrypted.port}/0")


def test_a_certificate_for_another_host_is_refused(tmp_path, encrypted):
    other = Authority(tmp_path, name="elsewhere.example")
    front = TlsFront(other.context, encrypted.port)
    message = refusal_of(f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={other.path}")
    front.close()
    assert "not valid for" in message or "mismatch" in message


@pytest.fixture
def encrypted_sentinel(tmp_path, authority):
    """A Sentinel behind TLS that watches a server behind TLS; it speaks without TLS itself."""
    server = Server(tmp_path, "one")
    front = TlsFront(authority.context, server.port)
    watched = f"sentinel monitor {SERVICE} 127.0.0.1 {front.port} 1\n"
    sentinel = Server(tmp_path, "sentinel", watched, sentinel=True)
    before = TlsFront(authority.context, sentinel.port)
    yield before, front, sentinel
    for each in (before, front):
        each.close()
    sentinel.kill()
    server.kill()


@pytest.mark.parametrize("sentinel_ssl", ["yes", "no"])
def test_sentinels_with_tls_lead_to_a_server_with_tls(encrypted_sentinel, authority, sentinel_ssl):
    before, front, sentinel = encrypted_sentinel
    port = before.port if sentinel_ssl == "yes" else sentinel.port
    url = f"rediss+sentinel://127.0.0.1:{port}/{SERVICE}?ssl_ca_certs={authority.path}&sentinel_ssl={sentinel_ssl}"

    async def scenario():
        async with open_redis(url) as redis:
            await redis.set("a", 1)

    SentinelTrio.wait(lambda: asyncio.run(scenario()) is None, "no primary")
    assert front.encrypted >= 1 and (before.encrypted >= 1) is (sentinel_ssl == "yes")
    client = open_blocking_redis(url, answer_s=3)
    assert client.get("a") == b"1"
    client.close()


def test_sentinels_of_an_unknown_authority_are_an_error(encrypted_sentinel):
    async def scenario():
        async with open_redis(f"rediss+sentinel://127.0.0.1:{encrypted_sentinel[0].port}/{SERVICE}") as redis:
            with pytest.raises(ConnectionError, match="none of the Sentinels"):
                await redis.ping()

    asyncio.run(scenario())
