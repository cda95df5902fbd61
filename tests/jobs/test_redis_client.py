"""The URL of Redis, and the client's connections."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from jobs.errors import RedisUrlError
from jobs.redis_client import MAX_CONNECTIONS, open_redis
from jobs.redis_url import checked_url, shown_url

SECRET = "SECRETWRONG"


@pytest.mark.parametrize(
    ("given_url", "own"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://h", "redis://h"),
        ("rediss://:pw@h:1/2?ssl_cert_reqs=none", "rediss://:pw@h:1/2?ssl_cert_reqs=none"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://:p%40w@h/0?socket_timeout=3", "redis://:p%40w@h/0?socket_timeout=3"),
        ("valkey://u:pw@h:1/2", "redis://u:pw@h:1/2"),
        ("valkeys://h", "rediss://h"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_a_url_of_redis_or_valkey_is_accepted(given_url, own):
    assert checked_url(given_url) == own


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:6379", "127.0.0.1", f"user:{SECRET}@h:6379", "redis:/h", "redis+sentinel://h:26379",
        f"redis+sentinel://:{SECRET}@h:26379/mymaster/x", "sentinel://h", "http://h:6379", "redis-socket:///tmp/s",
        f"redis://:{SECRET}@h:6379/0?foo=bar", "redis://h/0?Db=1", "redis://h/0?decode_responses=true",
        f"redis://:{SECRET}@h:port/0", "redis://h:99999/0", "redis://h/mymaster", "redis://h/0/1", "redis://h/0?db=x",
        "redis://h?socket_timeout=soon", "redis://[::1/0", "unix://", "redis://h/0?foo",
    ],
)  # fmt: skip
def test_another_url_is_refused_with_the_allowed_schemes_and_without_its_password(url):
    with pytest.raises(RedisUrlError) as refused:
        checked_url(url)
    for scheme in ("redis://", "rediss://", "valkey://", "unix://"):
        assert scheme in str(refused.value)
    assert SECRET not in str(refused.value)


PASSWORDS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="/?#@[]"), min_size=3)


@given(
    password=PASSWORDS.map(lambda text: f"pw{text}wp"),
    user=st.sampled_from(["", "user", "default"]),
    scheme=st.sampled_from(["redis://", "rediss://", "valkey://", "redis+sentinel://", ""]),
    host=st.sampled_from(["h", "127.0.0.1:6379", "[::1]:6379/0"]),
)
def test_no_shown_url_has_a_password(password, user, scheme, host):
    for url in (f"{scheme}{user}:{password}@{host}", f"{scheme}{host}?db=0&password={password.replace('&', '')}"):
        shown = shown_url(url)
        assert password not in shown and password.replace("&", "") not in shown
        assert "***" in shown
        assert host in shown


def test_more_commands_than_connections_wait_for_their_turn(valkey_url):
    async def scenario() -> None:
        async with open_redis(valkey_url) as client:
            answers = await asyncio.gather(*(client.incr("count") for _ in range(10 * MAX_CONNECTIONS)))
            assert sorted(answers) == list(range(1, 10 * MAX_CONNECTIONS + 1))
            assert len(await client.client_list()) <= MAX_CONNECTIONS

    asyncio.run(scenario())


def test_the_client_is_that_of_the_url(valkey_url):
    async def scenario() -> None:
        async with open_redis(f"{valkey_url}?db=3") as client, Redis.from_url(f"{valkey_url}?db=3") as other:
            await client.set("a", 1)
            assert await other.get("a") == b"1"

    asyncio.run(scenario())
