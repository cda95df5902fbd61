"""Every variable is a setting with a valid value, and every port and probe path answers in the real program."""

import asyncio
import http.client
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from manifests import (
    ROOT,
    Object,
    all_containers,
    both_tests,
    component_of,
    environment,
    find,
    pod_of,
    port_of,
    rendered,
    workloads,
)

from cli.main import COMMANDS
from cli.server_urls import checked_redis_url, checked_store_url
from cli.settings import PREFIX, Settings
from worker.engine_config import EngineConfig
from worker.supervisor import Supervisor, WorkerConfig

OTHERS = re.compile(r"HOME|REDIS_PASSWORD|REDISCLI_AUTH|AWS_[A-Z_]+|OTEL_[A-Z_]+")
"""Variables of other programs and libraries, and the part of a URL that comes from a Secret."""
OPTIONS_OF = {
    "api": {"api"},
    "worker": {"worker"},
    "scale-in": {"scale-in"},
    "webhooks": {"webhooks"},
    "models-pull": {"models"},
    "redis": set(),
}


def ours(objects: list[Object]) -> list[tuple[str, Object, Object]]:
    """The containers that run our program."""
    return [one for one in all_containers(objects) if one[2]["image"].startswith("undegrade-")]


def check_variables(objects: list[Object]) -> list[str]:
    findings = []
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for place, _, container in all_containers(objects):
        values, seen = environment(objects, container), set()
        findings += [
            f"{place}: {name} is no setting" for name in values if name not in known and not OTHERS.fullmatch(name)
        ]
        for entry in container.get("env", []):
            for used in re.findall(r"\$\(([A-Z_]+)\)", entry.get("value", "")):
                if used not in seen:
                    findings.append(f"{place}: {entry['name']} uses {used}, which comes later or never")
            findings += [f"{place}: {entry['name']} twice"] if entry["name"] in seen else []
            seen.add(entry["name"])
    return findings


def check_values(objects: list[Object]) -> list[str]:
    """The settings and the URLs accept what is written."""
    findings = []
    for place, _, container in ours(objects):
        values = {name: value for name, value in environment(objects, container).items() if "(secret" not in value}
        values |= {"UNDEGRADE_THREADS": "2"} if "UNDEGRADE_THREADS" in values else {}
        given = {name.removeprefix(PREFIX).lower(): value for name, value in values.items() if name.startswith(PREFIX)}
        try:
            read = Settings(**given)
            checked_store_url(read.store_url)
            checked_redis_url(read.redis_url.replace("$(REDIS_PASSWORD)", "0123abcdef"))
        except Exception as error:  # whatever refuses it
            findings.append(f"{place}: {error}")
    return findings


def check_commands(objects: list[Object]) -> list[str]:
    """Each container runs the command of its component."""
    findings = []
    for place, workload, container in ours(objects):
        command = container["args"][0]
        if command not in COMMANDS or (
            container["name"] != "pull" and command not in OPTIONS_OF[component_of(workload)]
        ):
            findings.append(f"{place}: {container['args']}")
    return findings


def check_ports(objects: list[Object]) -> list[str]:
    """The ports of the containers are those of the settings."""
    findings = []
    for place, workload, container in ours(objects):
        values = environment(objects, container)
        expected = {"metrics": int(values.get("UNDEGRADE_METRICS_PORT", 0))}
        if component_of(workload) == "api":
            expected["http"] = int(values.get("UNDEGRADE_PORT", Settings.model_fields["port"].default))
        found = {entry["name"]: entry["containerPort"] for entry in container.get("ports", [])}
        if container["name"] != "pull" and found != expected:
            findings.append(f"{place}: ports {found}, but the settings say {expected}")
        if container["name"] != "pull" and values.get("UNDEGRADE_HOST") not in ("0.0.0.0", "::"):
            findings.append(f"{place}: listens where no probe arrives")
    return findings


def settings_of(objects: list[Object]) -> Object:
    return find(objects, "ConfigMap", "undegrade")["data"]


def api(objects: list[Object]) -> Object:
    return pod_of(find(objects, "Deployment", "undegrade-api"))["containers"][0]


MISTAKES = {
    "a misspelled setting": ("check_variables", lambda all_: settings_of(all_).update(UNDEGRADE_METRIC_PORT="1")),
    "a variable of nobody": ("check_variables", lambda all_: api(all_)["env"].append({"name": "X", "value": "1"})),
    "a password that comes later": ("check_variables", lambda all_: api(all_)["env"].reverse()),
    "a value of another type": ("check_values", lambda all_: settings_of(all_).update(UNDEGRADE_GRACE_S="5m")),
    "a store nobody knows": ("check_values", lambda all_: settings_of(all_).update(UNDEGRADE_STORE_URL="nfs://x")),
    "a Redis nobody knows": ("check_values", lambda all_: api(all_)["env"][2].update(value="http://redis")),
    "another command": ("check_commands", lambda all_: api(all_).update(args=["worker"])),
    "another port": ("check_ports", lambda all_: settings_of(all_).update(UNDEGRADE_PORT="8001")),
    "only this machine": ("check_ports", lambda all_: settings_of(all_).pop("UNDEGRADE_HOST")),
}


test_nothing_is_found, test_a_mistake_is_found = both_tests(globals(), MISTAKES, "observe")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(port: int, path: str) -> tuple[int, str]:
    """The status and the type of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Content-Type"]
    finally:
        connection.close()


def probes(component: str) -> list[tuple[str, str, str]]:
    """The probes of a component in all renderings: probe, name of the port, path."""
    found = set()
    for name in ("base", "keda", "webhooks"):
        for workload in workloads(rendered(name)):
            if component_of(workload) == component:
                container = pod_of(workload)["containers"][0]
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    action = container[probe]["httpGet"]
                    assert port_of(container, action["port"])
                    found.add((probe, action["port"], action["path"]))
    assert len(found) == 3
    return sorted(found)


@pytest.fixture
def api_process(tmp_path):
    """`undegrade api` as it runs in the container, with a Redis; its ports by name."""
    from cli.embedded_redis import EmbeddedRedis

    ports = {"http": free_port(), "metrics": free_port()}
    with EmbeddedRedis(tmp_path / "redis") as redis:
        env = {"UNDEGRADE_PORT": str(ports["http"]), "UNDEGRADE_METRICS_PORT": str(ports["metrics"]),
               "UNDEGRADE_HOST": "127.0.0.1", "UNDEGRADE_AUTH": "on", "UNDEGRADE_REDIS_URL": redis.url,
               "PATH": "/usr/bin:/bin"}  # fmt: skip
        process = subprocess.Popen([sys.executable, "-m", "cli", "api"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
        try:
            until_s = time.monotonic() + 60
            while True:
                try:
                    get(ports["metrics"], "/metrics")
                    get(ports["http"], "/livez")
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < until_s
                    time.sleep(0.1)
            yield ports
        finally:
            process.terminate()
            process.wait(30)


def test_an_api_without_workers_and_keys_passes_its_probes_and_is_scraped(api_process):
    answers = {probe: get(api_process[port], path)[0] for probe, port, path in probes("api")}
    assert answers == dict.fromkeys(answers, 200)
    assert get(api_process["http"], "/no-such-path")[0] == 404, "else any path would do"
    status, kind = get(api_process["metrics"], "/metrics")
    assert status == 200 and kind.startswith("text/plain")


def test_the_probes_of_a_worker_answer_beside_its_metrics():
    async def make() -> Supervisor:
        engine = EngineConfig(bundles={"toy": Path("/nowhere")})
        return Supervisor(WorkerConfig(redis_url="redis://127.0.0.1:1/0", store_url="redis://", engine=engine))

    supervisor, port = asyncio.run(make()), free_port()
    supervisor.metrics.serve(port, "127.0.0.1", supervisor._probes())
    answers = {probe: get(port, path) for probe, name, path in probes("worker") if name == "metrics"}
    assert answers["livenessProbe"] == (200, "application/json")
    assert answers["startupProbe"] == answers["readinessProbe"] == (503, "application/json"), "it loads"
    assert get(port, "/metrics")[1].startswith("text/plain")


def test_the_probes_of_scale_in_are_those_of_the_command():
    from cli.kubernetes_pods import Cluster
    from cli.scale_in import Marker

    marker = Marker("redis://", Cluster("https://x", "x", Path()), ("a", "b"), every_s=1, idle_s=1)
    assert {path for _, _, path in probes("scale-in")} == set(marker._probes(list))


def test_the_probes_of_webhooks_are_those_of_the_command(tmp_path):
    from cli.embedded_redis import EmbeddedRedis

    port = free_port()
    with EmbeddedRedis(tmp_path / "redis") as redis:
        env = {"UNDEGRADE_METRICS_PORT": str(port), "UNDEGRADE_REDIS_URL": redis.url, "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "webhooks"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL
        )
        try:
            until_s = time.monotonic() + 60
            while True:
                try:
                    answers = [get(port, path) for _, _, path in probes("webhooks")]
                except OSError:
                    answers = []
                if answers == [(200, "application/json")] * 3:
                    break
                assert process.poll() is None and time.monotonic() < until_s, answers
                time.sleep(0.1)
        finally:
            process.terminate()
            assert process.wait(30) == 0
