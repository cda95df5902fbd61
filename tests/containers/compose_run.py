"""`make compose-test`: runs docker-compose.yml end to end, as docs/docker.md says, on the images of `make image-test`.

A Docker engine of its own runs in a network namespace of its own, so that it touches neither the machine's Docker nor
its firewall.  `--s3` and `--observe` add an overlay.  Needs root on Debian.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from builds import API_IMAGE, WORKER_IMAGE, build
from docker_engine import Engine, docker_engine, enter_namespace
from machine import PROMETHEUS_IMAGE, PYTHON_IMAGE, REDIS_IMAGE, ROOT, S3_IMAGE, make_image, prepare_podman, report
from scenario import LONG, Client, check_killed_worker, check_restoration, check_strangers_are_refused, crop

URL, PROMETHEUS = "http://127.0.0.1:8000", "http://127.0.0.1:9090/api/v1"
UP_S = 420


class Project:
    """One Compose project with its overlays."""

    def __init__(self, engine: Engine, compose: str, overlays: Sequence[str]) -> None:
        files = ["docker-compose.yml", *(f"deploy/compose/{name}.yml" for name in overlays)]
        named = [word for name in files for word in ("-f", str(ROOT / name))]
        self.command = [compose, "--project-directory", str(ROOT), *named]
        self.engine = engine
        self.env = {
            **os.environ, **engine.environment, "REDIS_IMAGE": "redis:bookworm", "S3_IMAGE": "seaweedfs:local",
            "PROMETHEUS_IMAGE": "prometheus:local", "ALERTMANAGER_IMAGE": "prometheus:local",
            "S3_SECRET": "of-the-test", "GRAFANA_PASSWORD": "of-the-test", "REDIS_PASSWORD": "of-the-test",
            "UNDEGRADE_THREADS": "1",
        }  # fmt: skip

    def __call__(self, *words: str, timeout_s: float = UP_S) -> str:
        return self.engine.run([*self.command, *words], self.env, timeout_s)

    def container(self, service: str) -> str:
        return self("ps", "--quiet", service).splitlines()[0]


def check_limits(project: Project) -> None:
    """The engine really applies what the file says: limits, read-only root, no capability, and when to restart."""
    for service, memory in (("api", 1 << 30), ("worker", 4 << 30), ("redis", 1200 << 20)):
        template = "{{.HostConfig.Memory}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.Config.User}} " \
            "{{.HostConfig.RestartPolicy.Name}}"  # fmt: skip
        container = project.container(service)
        user = "999:999" if service == "redis" else "10001:0"
        got = project.engine.docker("inspect", "--format", template, container)
        assert got == f"{memory} true [ALL] {user} unless-stopped", (service, got)


def check_redis(project: Project) -> None:
    """Redis keeps its data and drops none, and asks for the password."""
    for name, value in (("appendonly", "yes"), ("maxmemory-policy", "noeviction")):
        got = project("exec", "-T", "redis", "redis-cli", "CONFIG", "GET", name).split()
        assert got == [name, value], got
    refused = project("exec", "-T", "redis", "redis-cli", "-a", "wrong", "--no-auth-warning", "PING")
    assert "WRONGPASS" in refused or "NOAUTH" in refused, refused


def check_restart(project: Project, client: Client) -> None:
    """Jobs survive a restart of Redis: its file is on a volume."""
    jobs = [client.submit(crop(index), **LONG) for index in range(2)]
    project("restart", "redis")
    for job in jobs:
        client.result(job)
    report(f"restarted Redis: {len(jobs)} of {len(jobs)} jobs completed, by 2 workers")


def check_watched() -> None:
    """Prometheus scrapes API and worker, has the rules of deploy/observe, and knows the Alertmanager."""
    wanted = {"undegrade-api", "undegrade-worker"}
    end_s = time.monotonic() + UP_S
    while True:
        targets = httpx.get(f"{PROMETHEUS}/targets", trust_env=False).json()["data"]["activeTargets"]
        up = {target["labels"]["job"] for target in targets if target["health"] == "up"}
        alertmanagers = httpx.get(f"{PROMETHEUS}/alertmanagers", trust_env=False).json()["data"]["activeAlertmanagers"]
        if wanted <= up and alertmanagers:
            break
        assert time.monotonic() < end_s, f"up: {sorted(up)}, Alertmanagers: {alertmanagers}"
        time.sleep(1)
    rules = httpx.get(f"{PROMETHEUS}/rules", trust_env=False).json()["data"]["groups"]
    assert rules, "Prometheus has no rules"
    report(f"Prometheus: {', '.join(sorted(up))} are up, {sum(len(group['rules']) for group in rules)} rules")


def pid_of(project: Project, service: str) -> int:
    """Returns the number of the service's main process on this machine."""
    return int(project.engine.docker("inspect", "--format", "{{.State.Pid}}", project.container(service)))


def main(words: Sequence[str]) -> None:
    """Start the engine, load the images, and follow the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("compose", help="the program `docker-compose`")
    parser.add_argument("--s3", action="store_true", help="with the overlay s3")
    parser.add_argument(
        "--observe", action="store_true", help="with Prometheus and Alertmanager of the overlay observe"
    )
    parser.add_argument("--no-build", action="store_true", help="take the images of an earlier run")
    given = parser.parse_args(words)
    prepare_podman()
    overlays = [name for name in ("s3", "observe") if getattr(given, name)]
    own = {PYTHON_IMAGE: None, REDIS_IMAGE: "redis:bookworm"}
    if given.s3:
        own[S3_IMAGE] = "seaweedfs:local"
    if given.observe:
        own[PROMETHEUS_IMAGE] = "prometheus:local"
    for name in own:
        make_image(name)
    if not given.no_build:
        build()
    images = {API_IMAGE: "undegrade-api:local", WORKER_IMAGE: "undegrade-worker:local"}
    images |= {name: tag for name, tag in own.items() if tag}
    with docker_engine() as engine:
        start_s = time.monotonic()
        engine.load(images)
        report(f"loaded {len(images)} images in {time.monotonic() - start_s:.0f} s")
        follow_the_documentation(Project(engine, str(Path(given.compose).resolve()), overlays), overlays)


def follow_the_documentation(project: Project, overlays: Sequence[str]) -> None:
    """Up, one key, one request; then kill a worker, restart everything, and stop."""
    services = ["api", "worker"] + (["prometheus", "alertmanager"] if "observe" in overlays else [])
    try:
        start_s = time.monotonic()
        project("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(UP_S), *services)
        report(f"`up --wait` in {time.monotonic() - start_s:.0f} s: {' '.join(services)}, all healthy")
        enter_namespace(project.engine.namespace)  # from here on, this process is where the port is published
        check_strangers_are_refused(URL)
        key = project("exec", "-T", "api", "undegrade", "keys", "create", "me").splitlines()[0]
        client = Client(URL, key)
        client.until_ready()
        check_restoration(client)
        check_limits(project)
        check_redis(project)
        worker = pid_of(project, "worker")
        check_killed_worker(client, lambda: os.kill(worker, 9), lambda: None)  # the engine starts it again
        restarts = project.engine.docker("inspect", "--format", "{{.RestartCount}}", project.container("worker"))
        assert restarts == "1", f"the worker was restarted {restarts} times"
        if "observe" in overlays:
            check_watched()
        project("up", "--detach", "--no-build", "--wait", "--scale", "worker=2", *services)
        check_restart(project, client)
        start_s = time.monotonic()
        project("stop")
        codes = [project.engine.docker("inspect", "--format", "{{.State.ExitCode}}", name)
                 for name in project("ps", "--all", "--quiet", "api", "worker").splitlines()]  # fmt: skip
        assert set(codes) <= {"0", "143"}, f"exit codes after `stop`: {codes}"
        report(f"`stop` in {time.monotonic() - start_s:.0f} s, no container had to be killed")
    except BaseException:
        report(project("ps", "--all"))
        report(project("logs", "--tail", "30"))
        raise
    finally:
        project("down", "--volumes", "--timeout", "5")


if __name__ == "__main__":
    main(sys.argv[1:])
