"""`undegrade keys webhook-secret` and `keys webhooks` against an embedded Redis."""

import asyncio
import socket
import time

import pytest
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook

from cli.embedded_redis import EmbeddedRedis
from jobs import redis_keys
from jobs.webhook_secrets import DisabledUrl, disabled_field

URL = "https://example.com/hook"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


@pytest.fixture
def key_id(undegrade, url):
    """The id of a new key."""
    return undegrade("keys", "create", "website", "--redis-url", url).out.decode().split("_")[1]


def disable(redis_url, owner):
    async def main():
        async with Redis.from_url(redis_url) as redis:
            entry = DisabledUrl(origin="https://example.com", since_ms=int(time.time() * 1000)).model_dump_json()
            await redis.hset(redis_keys.DISABLED_WEBHOOKS, disabled_field(owner, URL), entry)

    asyncio.run(main())


def test_the_secret_is_printed_stays_and_is_rotated(undegrade, url, key_id):
    made, again = (undegrade("keys", "webhook-secret", key_id, "--redis-url", url) for _ in range(2))
    assert made.code == 0 and made.out == again.out and made.err == ""
    assert Webhook(made.out.decode().strip())
    rotated = undegrade("keys", "webhook-secret", key_id, "--rotate", "--redis-url", url)
    assert rotated.out.startswith(b"whsec_") and rotated.out != made.out
    assert "signs as well until" in rotated.err and made.out.decode().strip() not in rotated.err
    assert undegrade("keys", "webhook-secret", key_id, "--redis-url", url).out == rotated.out


def test_a_service_without_keys_has_a_secret_and_an_unknown_key_has_none(undegrade, url):
    assert undegrade("keys", "webhook-secret", "none", "--redis-url", url).out.startswith(b"whsec_")
    unknown = undegrade("keys", "webhook-secret", "0123456789ab", "--redis-url", url)
    assert unknown.code == 2 and unknown.out == b"" and "`undegrade keys list`" in unknown.err


def test_disabled_urls_are_listed_without_their_path_and_enabled(undegrade, url, key_id):
    assert "no webhook URL" in undegrade("keys", "webhooks", key_id, "--redis-url", url).err
    disable(url, key_id)
    listed = undegrade("keys", "webhooks", key_id, "--redis-url", url).out.decode()
    assert "https://example.com/..." in listed and "hook" not in listed
    wrong = undegrade("keys", "webhooks", key_id, "--enable", "https://example.com/other", "--redis-url", url)
    assert wrong.code == 2 and "not disabled" in wrong.err
    assert undegrade("keys", "webhooks", key_id, "--enable", URL, "--redis-url", url).code == 0
    assert "no webhook URL" in undegrade("keys", "webhooks", key_id, "--redis-url", url).err


def test_health_tells_whether_a_webhook_process_runs_here(undegrade, url):
    missing = undegrade("health", "webhooks", "--redis-url", url)
    assert missing.code == 1 and "no webhook process" in missing.err

    async def announce():
        async with Redis.from_url(url) as redis:
            await redis.set(redis_keys.WEBHOOK_PROCESS + socket.gethostname(), 1, ex=20)

    asyncio.run(announce())
    assert undegrade("health", "webhooks", "--redis-url", url).code == 0


def test_health_without_redis_is_unhealthy_but_alive(undegrade, tmp_path):
    words = ("health", "webhooks", "--redis-url", f"unix://{tmp_path}/none.sock")
    assert undegrade(*words).code == 1 and undegrade(*words, "--live").code == 0
