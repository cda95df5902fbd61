"""Clients follow a failover of real Sentinels: after a killed primary, and after one that hangs."""

import asyncio
import time

import pytest
from queue_bench import BUNDLE, MANY, spec
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, ResponseError
from sentinel_trio import SentinelTrio, Server

from jobs.changes import Changes, channels_of
from jobs.queue import Queue
from jobs.redis_client import open_blocking_redis, open_redis
from jobs.redis_health import read_health
from worker.errors import RedisRefused
from worker.redis_client import check_access, connect

pytestmark = pytest.mark.slow
APP, WATCH = "app:PASSWORDapp", "watch:PASSWORDwatch"
SENTINEL_RIGHTS = "user watch on >PASSWORDwatch -@all +sentinel|masters +auth +hello +ping\n"
PATIENCE_S = 40


@pytest.fixture
def trio():
    started = SentinelTrio()
    yield started
    started.close()


@pytest.fixture(scope="module")
def locked():
    """Servers and Sentinels with users of their own; the default users may do nothing for clients."""
    started = SentinelTrio(
        lines=f"user {APP.replace(':', ' on >')} ~* &* +@all\nuser default on >other ~* &* +@all\n", user=APP,
        sentinel_lines="user default on >PASSWORDsentinel ~* &* +@all\nsentinel sentinel-user default\n"
        f"sentinel sentinel-pass PASSWORDsentinel\n{SENTINEL_RIGHTS}",
        sentinel_user="default:PASSWORDsentinel",
    )  # fmt: skip
    yield started
    started.close()


async def eventually(action):
    """Returns what an action answers as soon as Redis does, and the errors before."""
    errors, until_s = [], time.monotonic() + PATIENCE_S
    while True:
        try:
            return await action(), errors
        except (RedisError, OSError) as error:
            errors.append(error)
            assert time.monotonic() < until_s, errors[-1]
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_scripts_a_blocked_worker_and_a_subscription_go_on_after_a_failover(trio, how):
    async def scenario():
        seen = []

        class Ear:
            def subscribed(self, channel):
                seen.append("")

            def changed(self):
                seen.append("changed")

        changes, ear = Changes(quiet_s=0.5), Ear()

        async def listen(redis):
            while True:
                try:
                    await changes.listen(redis)
                except (RedisError, OSError):
                    await asyncio.sleep(0.05)

        async with open_redis(trio.url(), answer_s=2) as redis:
            queue = Queue(redis)
            await queue.submit(before := spec(), MANY)
            await redis.execute_command("WAIT", 1, 5000)
            changes.add(ear, channels_of(before.id, True))
            listening = asyncio.create_task(listen(redis))
            await eventually(lambda: queue.wait_for_work(["other"], 0.01))
            blocked = asyncio.create_task(queue.wait_for_work(["other"], 1.0))
            await asyncio.sleep(0.1)
            getattr(trio.servers[0], how)()
            await asyncio.wait([blocked], timeout=PATIENCE_S)
            assert blocked.done(), "the blocked worker did not notice"
            blocked.exception()
            await eventually(lambda: queue.submit(spec(), MANY))
            assert trio.servers[1].role() == "master"
            until_s = time.monotonic() + PATIENCE_S
            while await redis.pubsub_numsub(*channels_of(before.id, True)) == [
                (channels_of(before.id, True)[0].encode(), 0)
            ]:
                assert time.monotonic() < until_s, "the subscription stayed with the old primary"
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)
            seen.clear()
            await queue.cancel(before.id)
            while "changed" not in seen:
                assert time.monotonic() < until_s, "the subscription stayed with the old primary"
                await asyncio.sleep(0.02)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            assert await queue.record(before.id) is not None and (await queue.backlog(BUNDLE)).total >= 1

    asyncio.run(asyncio.wait_for(scenario(), 120))


def test_a_connection_to_a_primary_that_became_a_replica_is_left(trio):
    async def scenario():
        async with open_redis(trio.url(), retries=0) as redis:
            await redis.set("a", 1)
            with trio.sentinels[0].client() as sentinel:
                sentinel.sentinel_failover("undegrade-test")
            SentinelTrio.wait(lambda: trio.servers[0].role() == "slave", "no failover")
            _, errors = await eventually(lambda: redis.set("a", 2))
            assert all(isinstance(error, ConnectionError) for error in errors)
            with trio.servers[1].client() as primary:
                assert primary.get("a") == b"2"

    asyncio.run(scenario())


def test_users_and_passwords_of_servers_and_sentinels_differ(locked):
    url = locked.url(f"?sentinel_username=watch&sentinel_password={WATCH.partition(':')[2]}", login=f"{APP}@")

    async def scenario():
        async with open_redis(url) as redis:
            assert await redis.execute_command("ACL", "WHOAMI") == b"app"
            health = await read_health(redis, url)
            assert health.role == "master" and "PASSWORD" not in health.model_dump_json()

    asyncio.run(scenario())
    client = open_blocking_redis(url, answer_s=3)
    assert client.execute_command("ACL", "WHOAMI") == b"app"
    client.close()


@pytest.mark.parametrize(
    ("login", "words", "part"),
    [
        (APP, "", "sentinel_password"),
        (APP, "?sentinel_username=watch&sentinel_password=PASSWORDwrong", "sentinel_password"),
        ("app:PASSWORDwrong", "?sentinel_username=watch&sentinel_password=PASSWORDwatch", "(?i)invalid username"),
    ],
)
def test_a_wrong_password_ends_a_worker_with_a_message_that_names_the_right_word(locked, login, words, part):
    async def scenario():
        client = connect(locked.url(words, login=f"{login}@"))
        try:
            await check_access(client)
        finally:
            await client.aclose()

    with pytest.raises(RedisRefused, match=part) as refused:
        asyncio.run(scenario())
    assert "PASSWORD" not in str(refused.value)


def test_a_wrong_name_of_the_service_is_answered_with_the_right_one(locked):
    url = locked.url("?sentinel_password=PASSWORDsentinel", login=f"{APP}@").replace("undegrade-test", "mymaster")

    async def scenario():
        async with open_redis(url) as redis:
            with pytest.raises(ConnectionError, match=r"know no service 'mymaster', but undegrade-test") as error:
                await redis.ping()
            assert not isinstance(error.value, AuthenticationError) and "PASSWORD" not in str(error.value)

    asyncio.run(scenario())


def test_a_server_in_the_place_of_a_sentinel_is_named_as_one(tmp_path):
    server = Server(tmp_path, "one")

    async def scenario():
        async with open_redis(f"redis+sentinel://127.0.0.1:{server.port}/m") as redis:
            with pytest.raises(ResponseError, match="no Sentinel"):
                await redis.ping()

    try:
        asyncio.run(scenario())
    finally:
        server.kill()


def test_sentinels_that_are_all_away_are_named():
    async def scenario():
        async with open_redis("redis+sentinel://:PASSWORD@127.0.0.1:1,127.0.0.1:2/m") as redis:
            with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1, 127\.0\.0\.1:2") as error:
                await redis.ping()
            assert "PASSWORD" not in str(error.value) and "Redis<" not in str(error.value)

    asyncio.run(scenario())


def test_connections_that_are_all_opened_at_once_share_one_question_to_the_sentinels(trio):
    """Each question of its own would leave a connection to a Sentinel open for ever."""

    def clients():
        found = 0
        for sentinel in trio.sentinels:
            with sentinel.client() as client:
                found += client.info("clients")["connected_clients"]
        return found

    async def scenario():
        async with open_redis(trio.url()) as redis:
            before = clients()
            await asyncio.gather(*(redis.blpop(["nothing"], timeout=0.5) for _ in range(50)))
            assert clients() - before <= 3

    asyncio.run(scenario())


def test_a_hung_sentinel_is_passed_over(trio):
    trio.sentinels[0].pause()

    async def scenario():
        async with open_redis(trio.url()) as redis:
            pool = redis.connection_pool
            await asyncio.gather(*(pool.get_master_address() for _ in range(50)))
            assert await redis.ping()
            assert len({id(sentinel) for sentinel in pool.sentinel_manager.sentinels}) == 3, "none is forgotten"

    asyncio.run(scenario())
