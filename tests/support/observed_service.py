"""A real API, worker, Valkey and Prometheus for tests of alerts and dashboards; every fault is that of a process.

The rules are those of deploy/observe/, with windows and `for:` shorter by FACTOR; expressions are the same otherwise.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import psutil
import yaml
from observe_files import OBSERVE, ROOT, RULES, program, scaled

from cli.embedded_redis import EmbeddedRedis

FACTOR = 30
SCRAPE = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
READY_S = 240


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Process:
    """A program with its log."""

    def __init__(self, words: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1"}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                words, stdout=output, stderr=output, cwd=ROOT, start_new_session=True,
                env={**os.environ, **own, **(env or {})},
            )  # fmt: skip

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it with its children, as an operating system does that is short of memory."""
        if self.process.poll() is None:
            family = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
            for member in family:
                member.kill()
        self.process.wait(30)


class Observed:
    """The service, its address `url`, and what Prometheus says of it."""

    def __init__(self, folder: Path, redis: EmbeddedRedis, store: Path) -> None:
        self.folder, self.redis, self.store = folder, redis, store
        self.ports = {
            name: free_port() for name in ("api", "api-metrics", "worker-metrics", "webhooks-metrics", "prometheus")
        }
        self.url = f"http://127.0.0.1:{self.ports['api']}"
        self.client = httpx.Client(base_url=self.url, timeout=30)
        self.processes: dict[str, Process] = {}

    def start_api(self, env: dict[str, str] | None = None) -> None:
        self._start("api", "--port", str(self.ports["api"]), metrics="api-metrics", env=env)
        self.until(lambda: self._answers("/livez"), "the API answers", 60)

    def start_worker(self, env: dict[str, str] | None = None, *words: str, ready: bool = True) -> None:
        self._start("worker", "--device", "cpu", *words, metrics="worker-metrics", env=env)
        if ready:
            self.until(lambda: self._answers("/readyz"), "the worker is ready", READY_S)

    def start_webhooks(self, env: dict[str, str]) -> None:
        self._start("webhooks", metrics="webhooks-metrics", env=env)

    def _start(self, name: str, *words: str, metrics: str, env: dict[str, str] | None = None) -> None:
        command = [
            sys.executable, "-m", "cli", name, "--redis-url", self.redis.url, "--store-url", f"file://{self.store}",
            "--metrics-port", str(self.ports[metrics]), *words,
        ]  # fmt: skip
        self.processes[name] = Process(command, self.folder / f"{name}.log", env)

    def start_prometheus(self, alertmanager: int | None = None) -> None:
        rules = self.folder / "rules"
        rules.mkdir()
        for path in RULES.glob("*.yml"):
            (rules / path.name).write_text(scaled(path.read_text(), FACTOR))
        config = yaml.safe_load((OBSERVE / "prometheus" / "prometheus.yml").read_text())
        config["global"] |= SCRAPE
        for job in config["scrape_configs"]:  # in Compose the targets come from DNS
            name = job["job_name"].removeprefix("undegrade-")
            job.pop("dns_sd_configs", None)
            port = self.ports.get(f"{name}-metrics", self.ports["prometheus"])
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        targets = [f"127.0.0.1:{alertmanager}"] if alertmanager else []
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": targets}]}]
        file = self.folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{self.ports['prometheus']}"
        words = [program("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={self.folder}/tsdb"]
        self.processes["prometheus"] = Process(
            [*words, f"--web.listen-address={address}"], self.folder / "prometheus.log"
        )
        self.until(lambda: self.query("up") is not None, "Prometheus answers", 60)

    def query(self, expression: str) -> list[dict] | None:
        """Returns the result of an instant query; None where Prometheus does not answer."""
        try:
            url = f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/query"
            answer = httpx.get(url, params={"query": expression}, timeout=10).json()
        except (httpx.HTTPError, ValueError):
            return None
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def knows_alertmanager(self) -> bool:
        url = f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/alertmanagers"
        return bool(httpx.get(url, timeout=10).json()["data"]["activeAlertmanagers"])

    def firing(self) -> set[str]:
        return {each["metric"]["alertname"] for each in self.query('ALERTS{alertstate="firing"}') or ()}

    def fires(self, *alerts: str, within_s: float = 240, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until these alerts have fired, each at some time."""
        missing = set(alerts)

        def all_fired() -> bool:
            meanwhile()
            missing.difference_update(self.firing())
            return not missing

        self.until(all_fired, lambda: f"{sorted(missing)} fire", within_s)

    def clears(self, *alerts: str, within_s: float = 300, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until none of these alerts fires."""

        def none_fires() -> bool:
            meanwhile()
            return not self.firing() & set(alerts)

        self.until(none_fires, lambda: f"{sorted(self.firing() & set(alerts))} end", within_s)

    def until(self, true: Callable[[], bool], what: str | Callable[[], str], within_s: float) -> None:
        until_s = time.monotonic() + within_s
        while not true():
            wanted = what if isinstance(what, str) else what()
            assert time.monotonic() < until_s, f"not within {within_s:g} s: {wanted}\n{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2500:]}" for path in self.folder.glob("*.log"))

    def _answers(self, path: str) -> bool:
        try:
            return self.client.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def submit(self, image: bytes, **options: object) -> httpx.Response:
        options = {"steps": 2, "max_passes": 1, **options}
        return self.client.post("/restore", params=options, content=image, headers={"Content-Type": "image/png"})

    def delete_all(self) -> None:
        """Cancel every job that has not ended."""

        def none_is_alive() -> bool:
            jobs = self.client.get("/jobs", params={"limit": 100}).json()["jobs"]
            alive = [job for job in jobs if job["status"] in ("queued", "running") and not job["cancel_requested"]]
            for job in alive:
                self.client.delete(f"/jobs/{job['id']}")
            return not alive

        self.until(none_is_alive, "all jobs are canceled", 120)

    def engine(self) -> psutil.Process | None:
        """The engine child of the worker, which has torch's memory; None while there is none."""
        try:
            children = psutil.Process(self.processes["worker"].process.pid).children(recursive=True)
            return max(children, key=lambda child: child.memory_info().rss, default=None)
        except psutil.Error:
            return None

    def restart_redis(self) -> None:
        self.redis.start()

    def stop_redis(self) -> None:
        self.redis.process.send_signal(signal.SIGKILL)
        self.redis.process.wait()

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        self.client.close()


def metric_names(text: str) -> set[str]:
    """The metrics of a text exposition, by their TYPE lines."""
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
