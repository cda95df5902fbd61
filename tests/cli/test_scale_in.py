"""`undegrade scale-in` against a server that speaks the Kubernetes API's patch, and an embedded Redis."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from kubernetes_api import KubernetesApi
from redis.asyncio import Redis

from cli.embedded_redis import EmbeddedRedis
from jobs.record import WorkerInfo
from jobs.worker_registry import WorkerRegistry

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def api(tmp_path):
    server = KubernetesApi(tmp_path / "pod" / "account")
    yield server
    server.close()


@pytest.fixture
def announce(redis):
    """Replace the workers in the registry: jobs in hand by host and bundle."""

    def replace(held: dict[str, dict[str, int]]) -> None:
        async def run() -> None:
            async with Redis.from_url(redis.url) as client:
                await client.flushall()
                infos = [
                    WorkerInfo(
                        name=f"{host}-1", host=host, bundle=bundle, family="toy", bundle_version="1", device="cpu",
                        lanes=("bulk",), max_batch=1, ready=True, in_hand=jobs, started_ms=0,
                    )
                    for host, bundles in held.items() for bundle, jobs in bundles.items()
                ]  # fmt: skip
                if infos:
                    await WorkerRegistry(client).announce(*infos)

        asyncio.run(run())

    return replace


@pytest.fixture
def once(undegrade, redis, api, monkeypatch):
    for name, value in api.environ.items():
        monkeypatch.setenv(name, value)
    return lambda *words: undegrade(
        "scale-in", "--once", "--redis-url", redis.url, "--account", str(api.folder), *words
    )


def test_pods_that_hold_jobs_of_any_bundle_get_a_cost_and_idle_ones_do_not(once, api, announce):
    for name in ("busy", "idle", "other"):
        api.add_pod(name, annotations={"kept": "yes"})
    announce({"busy": {"a": 0, "b": 2}, "idle": {"a": 0, "b": 0}})
    result = once()
    assert (result.code, api.cost("busy"), api.cost("idle")) == (0, "100", "0")
    assert [pod for pod, _ in api.patches] == ["busy", "idle"], "a pod that is no worker is not touched"
    assert api.pods["busy"]["metadata"]["annotations"]["kept"] == "yes"


def test_an_idle_pod_that_was_marked_before_a_restart_loses_its_mark(once, api, announce):
    api.add_pod("idle")
    api.pods["idle"]["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] = "100"
    announce({"idle": {"a": 0}})
    assert once().code == 0
    assert api.cost("idle") == "0"


def test_workers_elsewhere_pods_without_the_label_and_wild_names_are_left_alone(once, api, announce):
    api.add_pod("database", component="redis")
    api.add_pod("busy")
    announce({"laptop": {"a": 1}, "database": {"a": 1}, "../secrets/x": {"a": 1}, "busy": {"a": 1}})
    result = once()
    assert result.code == 0
    assert api.patches == [("busy", "100")]
    assert "not a worker" in result.err and "no such pod" in result.err


@pytest.mark.parametrize("code", [401, 403, 409, 429, 500, 503])
def test_a_refusal_of_the_api_is_reported_without_the_token(code, once, api, announce):
    api.add_pod("busy")
    announce({"busy": {"a": 1}})
    api.failures = [code]
    result = once()
    assert result.code == 5
    assert f"answers {code}: on purpose" in result.err
    assert ("needs the verb patch on pods" in result.err) == (code in (401, 403))
    assert api.token not in result.err and "Traceback" not in result.err


def test_an_api_with_a_certificate_of_another_authority_is_not_trusted(once, api, announce, tmp_path):
    api.add_pod("busy")
    announce({"busy": {"a": 1}})
    other = KubernetesApi(tmp_path / "other" / "account")
    (api.folder / "ca.crt").write_bytes((other.folder / "ca.crt").read_bytes())
    other.close()
    result = once()
    assert result.code == 5 and "CERTIFICATE_VERIFY_FAILED" in result.err
    assert not api.patches


@pytest.mark.parametrize("name", ["token", "ca.crt", "namespace"])
def test_an_account_without_a_file_is_a_usage_error(name, once, api):
    (api.folder / name).unlink()
    result = once()
    assert result.code == 2 and name in result.err


def test_outside_a_cluster_the_command_says_so(undegrade, monkeypatch, api):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = undegrade("scale-in", "--once", "--account", str(api.folder))
    assert result.code == 2 and "this is not a pod" in result.err


def test_a_label_must_have_a_value(once):
    assert once("--label", "worker").code == 2


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(condition) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s, "not in time"
        time.sleep(0.05)


@pytest.fixture
def running(redis, api):
    """The command as a process, and the port of its probes."""
    port = free_port()
    words = ["--redis-url", redis.url, "--account", str(api.folder), "--every", "1", "--idle", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "scale-in", *words, "--probes-port", str(port)], cwd=ROOT,
        env={**os.environ, **api.environ}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        yield process, port
        process.kill()


def reasons(port: int, path: str) -> list[str] | None:
    """What a probe says; None while nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return json.load(response)["reasons"]
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)["reasons"]
    except OSError:
        return None


def test_marks_follow_the_work_through_a_new_token_and_an_outage_and_sigterm_ends_it(running, api, announce):
    process, port = running
    api.add_pod("one")
    announce({"one": {"a": 1}})
    eventually(lambda: api.cost("one") == "100")
    eventually(lambda: reasons(port, "/startupz") == [] and reasons(port, "/readyz") == [])
    api.rotate_token("second-token")
    announce({"one": {"a": 0}})
    eventually(lambda: api.cost("one") == "0")
    api.failures = [503, 503]
    announce({"one": {"a": 1}})
    eventually(lambda: "503" in " ".join(reasons(port, "/readyz") or []))
    assert reasons(port, "/livez") == []
    eventually(lambda: api.cost("one") == "100")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert "second-token" not in process.stderr.read()
