"""The secrets of webhooks: made once, rotated with an overlap, removed with their key."""

import base64

from jobs import api_keys
from jobs.hooks import NO_OWNER
from jobs.webhook_secrets import (
    OVERLAP_S,
    DisabledUrl,
    disabled_field,
    disabled_urls,
    enable,
    forget_revoked,
    is_disabled,
    owner_exists,
    rotate,
    secrets_of,
)


def test_a_secret_has_the_form_of_standard_webhooks_and_stays(run):
    async def scenario(bench):
        secret = (await secrets_of(bench.redis, "key")).current
        assert secret.startswith("whsec_") and 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
        assert (await secrets_of(bench.redis, "key")).valid(0) == (secret,)
        assert (await secrets_of(bench.redis, "other")).current != secret

    run(scenario)


def test_after_a_rotation_both_secrets_are_valid_for_a_day(run):
    async def scenario(bench):
        first = (await secrets_of(bench.redis, "key")).current
        second = await rotate(bench.redis, "key", now_ms=1000)
        assert second == await secrets_of(bench.redis, "key")
        end_ms = 1000 + OVERLAP_S * 1000
        assert second.valid(end_ms - 1) == (second.current, first) and second.valid(end_ms) == (second.current,)
        third = await rotate(bench.redis, "key", now_ms=2000)
        assert third.valid(2000) == (third.current, second.current), "never more than two"
        assert len((await rotate(bench.redis, "fresh", now_ms=0)).valid(0)) == 1

    run(scenario)


def test_the_secret_of_a_revoked_key_goes(run):
    async def scenario(bench):
        key, _ = await api_keys.create(bench.redis, "site")
        for owner in (key, NO_OWNER):
            await secrets_of(bench.redis, owner)
        assert await forget_revoked(bench.redis) == 0 and await owner_exists(bench.redis, key)
        await api_keys.revoke(bench.redis, key)
        assert not await owner_exists(bench.redis, key) and await owner_exists(bench.redis, NO_OWNER)
        assert await forget_revoked(bench.redis) == 1

    run(scenario)


def test_a_disabled_url_is_listed_without_its_path_enabled_by_hand_and_after_a_month(run):
    async def scenario(bench):
        url, now_ms = "https://example.com/secret-path", await bench.queue.now_ms()
        for owner, at_ms in (("key", now_ms), ("old", 1)):
            disabled = DisabledUrl(origin="https://example.com", since_ms=at_ms)
            await bench.redis.hset(
                "undegrade:disabled-webhooks", disabled_field(owner, url), disabled.model_dump_json()
            )
        assert await is_disabled(bench.redis, "key", url) and not await is_disabled(bench.redis, "key2", url)
        assert not await is_disabled(bench.redis, "old", url)
        (listed,) = await disabled_urls(bench.redis, "key")
        assert listed.origin == "https://example.com"
        assert not any(b"secret-path" in repr(value).encode() for value in (await bench.keyspace()).values())
        assert await enable(bench.redis, "key", url) and not await enable(bench.redis, "key", url)
        assert not await is_disabled(bench.redis, "key", url)

    run(scenario)
