import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable

import pytest
import redis.exceptions
from redis.asyncio import Redis

from jobs import api_keys


def run(url: str, scenario: Callable[[Redis], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Redis.from_url(url) as client:
            await scenario(client)

    asyncio.run(main())


def test_a_new_key_is_known_by_its_secret(valkey_url):
    async def scenario(client: Redis) -> None:
        key_id, secret = await api_keys.create(client, "the phone app")
        key = await api_keys.verify(client, secret)
        assert key is not None
        assert (key.id, key.name) == (key_id, "the phone app")
        assert secret.startswith(f"ud_{key_id}_")

    run(valkey_url, scenario)


def test_two_keys_of_one_name_are_two_keys(valkey_url):
    async def scenario(client: Redis) -> None:
        first, second = await api_keys.create(client, "app"), await api_keys.create(client, "app")
        assert first[0] != second[0]
        assert [key.id for key in await api_keys.list_keys(client)] == [first[0], second[0]]
        assert (await api_keys.verify(client, second[1])).id == second[0]

    run(valkey_url, scenario)


def test_redis_keeps_the_digest_and_never_the_secret(valkey_url):
    async def scenario(client: Redis) -> None:
        key_id, secret = await api_keys.create(client, "app")
        await api_keys.note_use(client, key_id)
        stored = await client.hget("undegrade:api-keys", key_id)
        assert secret.split("_", 2)[2].encode() not in stored
        fields = json.loads(stored)
        assert set(fields) == {"name", "sha256", "created_ms", "last_used_ms"}
        assert fields["sha256"] == hashlib.sha256(secret.encode()).hexdigest()

    run(valkey_url, scenario)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda secret: secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        lambda secret: secret + "A",
        lambda secret: secret + "\n",
        lambda secret: secret.upper(),
        lambda secret: "ud_000000000000_" + secret.split("_", 2)[2],
        lambda secret: secret.rsplit("_", 1)[0],
        lambda secret: "ud_é_" + secret,
        lambda secret: "",
    ],
)
def test_every_text_but_the_secret_is_refused(valkey_url, spoil):
    async def scenario(client: Redis) -> None:
        _, secret = await api_keys.create(client, "app")
        assert await api_keys.verify(client, spoil(secret)) is None
        assert (await api_keys.list_keys(client))[0].last_used_ms is None

    run(valkey_url, scenario)


def test_the_secret_of_one_key_does_not_open_another(valkey_url):
    async def scenario(client: Redis) -> None:
        (first, _), (_, secret) = await api_keys.create(client, "a"), await api_keys.create(client, "b")
        assert await api_keys.verify(client, f"ud_{first}_" + secret.split("_", 2)[2]) is None

    run(valkey_url, scenario)


def test_a_revoked_key_is_refused_at_once_and_revoked_once(valkey_url):
    async def scenario(client: Redis) -> None:
        key_id, secret = await api_keys.create(client, "app")
        assert await api_keys.revoke(client, key_id)
        assert await api_keys.verify(client, secret) is None
        assert not await api_keys.revoke(client, key_id)

    run(valkey_url, scenario)


def test_a_key_that_is_revoked_while_its_use_is_written_does_not_come_back(valkey_url):
    class RevokingRedis(Redis):
        """Another client revokes the key between the look-up and the write of its last use."""

        async def hget(self, name: str, key: str) -> bytes | None:
            stored = await super().hget(name, key)
            await self.hdel(name, key)
            return stored

    async def scenario(client: Redis) -> None:
        key_id, _ = await api_keys.create(client, "app")
        async with RevokingRedis.from_url(valkey_url) as racing:
            await api_keys.note_use(racing, key_id)
        assert not await api_keys.any_keys(client)

    run(valkey_url, scenario)


def test_the_first_use_is_written_and_the_next_ones_write_nothing(valkey_url):
    async def scenario(client: Redis) -> None:
        key_id, secret = await api_keys.create(client, "app")
        created = (await api_keys.list_keys(client))[0]
        assert created.last_used_ms is None
        await api_keys.note_use(client, key_id)
        used = (await api_keys.list_keys(client))[0]
        assert used.last_used_ms >= used.created_ms == created.created_ms
        before = (await client.info("commandstats")).get("cmdstat_hset", {}).get("calls")
        await api_keys.note_use(client, key_id)
        await api_keys.verify(client, secret)
        assert (await client.info("commandstats")).get("cmdstat_hset", {}).get("calls") == before
        assert await api_keys.list_keys(client) == [used]

    run(valkey_url, scenario)


def test_an_update_changes_what_it_names_and_a_use_in_between_survives(valkey_url):
    class BusyRedis(Redis):
        """A request uses the key between the look-up and the write of the first update."""

        used = False

        async def hget(self, name: str, key: str) -> bytes | None:
            stored = await super().hget(name, key)
            if not self.used:
                self.used = True
                await api_keys.note_use(self, key)
            return stored

    async def scenario(client: Redis) -> None:
        key_id, secret = await api_keys.create(client, "app", "read", weight=3, quotas={"jobs": "5"})
        async with BusyRedis.from_url(valkey_url) as busy:
            await api_keys.update(busy, key_id, quotas={"jobs": "6"})
        key = await api_keys.verify(client, secret)
        assert (key.quotas, key.weight, key.rights, key.name) == ({"jobs": "6"}, 3, {"read"}, "app")
        assert key.last_used_ms is not None
        assert await api_keys.update(client, "000000000000", weight=2) is None

    run(valkey_url, scenario)


def test_a_key_expires_at_its_millisecond_and_stays_listed(valkey_url):
    async def scenario(client: Redis) -> None:
        await api_keys.create(client, "app", expires_ms=5000)
        (key,) = await api_keys.list_keys(client)
        assert not key.expired(4999) and key.expired(5000) and key.expired()

    run(valkey_url, scenario)


def test_any_keys_is_true_from_the_first_created_to_the_last_revoked_key(valkey_url):
    async def scenario(client: Redis) -> None:
        assert not await api_keys.any_keys(client)
        assert await api_keys.list_keys(client) == []
        key_id, _ = await api_keys.create(client, "app")
        assert await api_keys.any_keys(client)
        await api_keys.revoke(client, key_id)
        assert not await api_keys.any_keys(client)

    run(valkey_url, scenario)


def test_redis_being_away_is_an_error_and_not_a_refusal(tmp_path):
    async def scenario(client: Redis) -> None:
        with pytest.raises(redis.exceptions.ConnectionError):
            await api_keys.verify(client, "ud_000000000000_" + "A" * 43)

    run(f"unix://{tmp_path}/nobody", scenario)
