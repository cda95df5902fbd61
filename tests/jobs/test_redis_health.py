"""What is wrong with a Redis: found on a real server that is set up badly, or that tells nothing."""

import asyncio

import pytest
from redis.asyncio import Redis

from jobs.redis_health import RedisHealth, problems, public_url, read_health

GOOD = RedisHealth(
    url="redis://h", version="7.2.4", role="master", cluster=False, appendonly=True, appendfsync="everysec", save="",
    maxmemory_policy="noeviction", maxmemory_bytes=10**9, used_memory_bytes=10**6, last_aof_write="ok",
    last_snapshot="ok",
)  # fmt: skip
SET_UP = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}


def found(health):
    return {entry.severity: entry.problem for entry in problems(health)}


@pytest.mark.parametrize(
    ("change", "severity", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "error", "allkeys-lru"),
        ({"maxmemory_policy": "volatile-ttl"}, "error", "volatile-ttl"),
        ({"appendonly": False}, "error", "loses all jobs"),
        ({"appendonly": False, "save": "3600 1"}, "error", "since the last snapshot"),
        ({"appendfsync": "no"}, "warning", "30 s"),
        ({"maxmemory_bytes": 0}, "warning", "not set"),
        ({"used_memory_bytes": 850_000_000}, "error", "85 %"),
        ({"last_aof_write": "err"}, "error", "append-only file failed"),
        ({"last_snapshot": "err"}, "error", "snapshot"),
        ({"version": "6.2.14"}, "error", "6.2.14"),
        ({"role": "slave"}, "error", "replica"),
        ({"cluster": True}, "error", "cluster"),
    ],
)
def test_each_wrong_setting_is_named_with_its_weight(change, severity, words):
    health = GOOD.model_copy(update=change)
    assert words in found(health)[severity] and len(found(health)) == 1
    assert all(entry.remedy for entry in problems(health))


def test_a_good_server_and_one_that_tells_nothing_have_no_problem():
    assert not found(GOOD)
    assert not found(RedisHealth(url="redis://h"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@queue:6379/0", "redis://queue:6379/0"),
        ("rediss://:p%40ss@queue/1?password=secret", "rediss://queue/1"),
        ("unix:///run/valkey.sock?db=1&password=secret", "unix:///run/valkey.sock"),
        ("s3://key:secret@bucket/prefix?secret_access_key=x", "s3://bucket/prefix"),
        ("redis://", "redis://"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert public_url(url) == shown


@pytest.fixture
def reset(valkey_url):
    """Sets a server up, and as it was before after the test."""

    def with_settings(scenario, **settings):
        async def main():
            async with Redis.from_url(valkey_url) as redis:
                before = {name: (await redis.config_get(name))[name] for name in settings}
                try:
                    for name, value in settings.items():
                        await redis.config_set(name, value)
                    await scenario(redis)
                finally:
                    for name, value in before.items():
                        await redis.config_set(name, value)

        asyncio.run(main())

    return with_settings


def test_a_server_is_read_as_it_is_configured(reset, valkey_url):
    async def scenario(redis):
        health = await read_health(redis, valkey_url)
        assert (health.appendonly, health.appendfsync, health.save) == (False, "no", "")
        assert (health.maxmemory_policy, health.maxmemory_bytes) == ("allkeys-random", 10**9)
        assert health.used_memory_bytes > 0 and health.role == "master" and health.cluster is False
        assert health.not_readable == () and health.last_snapshot == "ok"
        assert sorted(entry.severity for entry in health.problems) == ["error", "error"]

    reset(
        scenario,
        appendonly="no",
        appendfsync="no",
        save="",
        maxmemory=str(10**9),
        **{"maxmemory-policy": "allkeys-random"},
    )


@pytest.mark.parametrize("refused", [("-config",), ("-config", "-info"), ("-@dangerous",)])
def test_a_managed_server_that_refuses_to_tell_is_no_error(reset, valkey_url, refused):
    async def scenario(redis):
        await redis.execute_command("ACL", "SETUSER", "tenant", "reset", "on", ">pw", "~*", "&*", "+@all", *refused)
        try:
            async with Redis.from_url(f"{valkey_url}?username=tenant&password=pw") as tenant:
                health = await read_health(tenant, f"{valkey_url}?username=tenant&password=pw")
        finally:
            await redis.execute_command("ACL", "DELUSER", "tenant")
        assert {"appendfsync", "save"} <= set(health.not_readable) and "pw" not in health.model_dump_json()
        told = "-info" not in refused and "-@dangerous" not in refused
        assert (health.maxmemory_policy == "noeviction") is told and (health.appendonly is True) is told
        assert not [entry for entry in health.problems if entry.severity == "error"]

    reset(scenario, **SET_UP)
