"""The user of docs/redis.md has every right that is needed; a server that refuses what managed ones do is enough."""

import asyncio
import re
import shlex
from pathlib import Path

import httpx
import pytest
from redis import Redis as BlockingRedis
from redis.exceptions import ResponseError
from typer.testing import CliRunner

from cli.main import app
from jobs.deliveries import Outbox
from jobs.lua_scripts import FOLDER
from jobs.redis_client import open_blocking_redis, open_redis
from jobs.redis_health import read_health
from worker.rq_worker import UndegradeWorker

PAGE = Path(__file__).parents[2] / "docs" / "redis.md"
CALL = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'")
PASSWORD = "PASSWORD"


def documented_rules() -> list[str]:
    block = re.search(r"redis-cli (ACL SETUSER undegrade .*?)```", PAGE.read_text(), re.DOTALL)
    assert block, "docs/redis.md has the rule"
    return shlex.split(block[1].replace("\\\n", " "))


MANAGED = [
    "ACL", "SETUSER", "undegrade", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-client", "-config", "-info", "-acl",
]  # fmt: skip


@pytest.fixture(params=["documented", "managed"])
def limited(request, valkey):
    """The URL of a user with these rights, whose refusals are recorded; `managed` may be refused what it names."""
    rules = documented_rules() if request.param == "documented" else MANAGED
    valkey.do(lambda redis: redis.execute_command(*rules))
    valkey.do(lambda redis: redis.execute_command("ACL", "LOG", "RESET"))
    yield f"{valkey.url}?username=undegrade&password={PASSWORD}"
    refused = valkey.do(lambda redis: redis.acl_log())
    valkey.do(lambda redis: redis.execute_command("ACL", "DELUSER", "undegrade"))
    allowed = set() if request.param == "documented" else {"client|maint_notifications", "client|setinfo", "info"}
    allowed |= set() if request.param == "documented" else {"config|get", "client|setname", "client|info"}
    assert {entry["object"] for entry in refused} <= allowed


def test_every_command_of_the_scripts_is_allowed(valkey):
    names = {name for path in FOLDER.glob("*.lua") for name in CALL.findall(path.read_text())}
    assert len(names) > 40
    valkey.do(lambda redis: redis.execute_command(*documented_rules()))

    def check(redis: BlockingRedis) -> None:
        known = redis.command()
        for name in sorted(names):
            words = ["undegrade:a"] * (abs(known[name.lower()]["arity"]) - 1)
            try:
                answer = redis.execute_command("ACL", "DRYRUN", "undegrade", name, *words)
            except ResponseError as error:  # its words are no valid ones
                assert "permission" not in str(error), error
            else:
                assert answer == b"OK", answer

    valkey.do(check)
    valkey.do(lambda redis: redis.execute_command("ACL", "DELUSER", "undegrade"))


@pytest.mark.parametrize("command", ["FLUSHALL", "KEYS *", "CONFIG SET save x", "SHUTDOWN", "GET secret", "SCAN 0"])
def test_the_user_may_not_touch_the_server_or_other_keys(valkey, command):
    valkey.do(lambda redis: redis.execute_command(*documented_rules()))
    answer = valkey.do(lambda redis: redis.execute_command("ACL", "DRYRUN", "undegrade", *command.split()))
    valkey.do(lambda redis: redis.execute_command("ACL", "DELUSER", "undegrade"))
    assert b"has no permissions" in answer or b"can't access" in answer.lower() or b"no permissions" in answer


def test_service_worker_webhooks_and_operators_work_with_these_rights(limited, serve, toy, picture, until_ready):
    service = serve(redis_url=limited, store_url="redis://", metrics_port=0)
    worker = toy(url=limited)
    assert worker.announced.wait(20)
    client = service.client
    until_ready(client)
    image = {"image": picture()}
    job = client.post("/restore", files=image, headers={"Idempotency-Key": "k", "Prefer": "wait=20"}).json()
    assert job["status"] == "succeeded", job
    assert client.post("/restore", files=image, headers={"Idempotency-Key": "k", "Prefer": "wait=20"}).json() == job
    with client.stream("GET", f"/jobs/{job['id']}/events") as answer:
        assert any(line == "event: completed" for line in answer.iter_lines())
    assert client.get("/jobs").status_code == 200 and client.get("/system").status_code == 200
    metrics = httpx.get(f"http://127.0.0.1:{service.app.state.metrics_port}/metrics").text
    assert "undegrade_redis_up 1.0" in metrics and "undegrade_jobs_queued" in metrics
    assert client.delete(f"/jobs/{job['id']}").status_code < 300

    rq = UndegradeWorker(["toy:standard"], "rq-name", open_blocking_redis(limited, answer_s=3))
    rq.register()
    rq.heartbeat_as("idle")
    rq.unregister()
    rq.connection.close()

    async def others() -> None:
        async with open_redis(f"{limited}&client_name=us") as redis:
            await Outbox(redis).announce_process("host")
            assert await Outbox(redis).is_process_alive("host") and await Outbox(redis).adopt() == 0
            await Outbox(redis).wait(0.01)
            assert (await read_health(redis, limited)).url.startswith("unix://")

    asyncio.run(others())
    for command in (["keys", "create", "a"], ["keys", "list"], ["queue", "show"], ["workers", "list"]):
        result = CliRunner().invoke(app, [*command, "--redis-url", limited])
        assert result.exit_code == 0, result.output
        assert PASSWORD not in result.output
