"""Real faults of real processes: each alert fires in a real Prometheus, and ends after the mend (`make alerts-test`).

The windows and `for:` of deploy/observe's rules are 30 times shorter here; the expressions are the same otherwise.
"""

import io
import json
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from observe_files import OBSERVE, program
from observed_service import Observed, Process, free_port, metric_names
from PIL import Image
from webhook_receiver import Receiver

from cli.embedded_redis import EmbeddedRedis
from jobs.metric_table import of_process

DIFFUSED = "remove the blur"
"""A repair for which the shipped bundle has no specialist: such a job takes as many steps as it asks for."""
STORE_MB = 160
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own: filling it harms nothing else."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={STORE_MB}m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here; it needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def observed(tmp_path):
    """An API and a Prometheus that scrapes it; tests start the worker."""
    program("prometheus")
    with EmbeddedRedis(tmp_path / "redis") as redis:
        here = Observed(tmp_path, redis, tmp_path / "disk")
        try:
            here.start_api()
            here.start_prometheus()
            yield here
        finally:
            here.close()


def image(crop, side=None):
    if side is None:
        return crop(0)
    data = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(data, "PNG")
    return data.getvalue()


def test_a_killed_worker(observed, crop):
    observed.start_worker()
    for _ in range(4):
        observed.submit(image(crop), steps=500, prompt=DIFFUSED)
    observed.until(lambda: bool(observed.query("undegrade_worker_jobs_held > 0")), "the worker has jobs", 30)
    assert not observed.firing() & {"UndegradeWorkerDown", "UndegradeWorkerLost", "UndegradeNoWorkerReady"}
    observed.processes["worker"].kill()
    observed.fires("UndegradeWorkerDown", "UndegradeNoWorkerReady")
    observed.start_worker(ready=False)  # it finds the leases of the dead worker
    observed.fires("UndegradeWorkerLost")
    observed.clears("UndegradeWorkerDown", "UndegradeNoWorkerReady", "UndegradeWorkerLost")


def test_redis_gone(observed):
    def ask():
        for _ in range(3):
            observed.client.get("/jobs")

    ask()
    alerts = "UndegradeRedisDown", "UndegradeErrorRateHigh", "UndegradeRequestErrorBudgetBurn"
    assert not observed.firing() & {*alerts}
    observed.stop_redis()
    observed.fires(*alerts, meanwhile=ask)
    observed.restart_redis()
    observed.clears(*alerts, meanwhile=ask)


def test_a_full_store(disk, observed, crop):
    alerts = "UndegradeStoreFull", "UndegradeStoreNearlyFull"
    observed.until(lambda: bool(observed.query("undegrade_store_free_ratio > 0.9")), "the disk is empty", 30)
    filler = disk / "files-of-others"
    filler.write_bytes(bytes((STORE_MB - 4) << 20))
    assert observed.submit(image(crop)).status_code == 507
    observed.fires(*alerts)
    filler.unlink()
    observed.clears(*alerts)
    assert observed.submit(image(crop)).status_code == 202


def test_an_engine_that_dies_again_and_again(observed):
    observed.start_worker()

    def kill_engine():
        engine = observed.engine()
        if engine is not None and engine.memory_info().rss > 100 << 20:
            engine.kill()
            time.sleep(0.5)

    observed.fires("UndegradeEngineCrashLoop", meanwhile=kill_engine)
    observed.clears("UndegradeEngineCrashLoop")


def test_memory_that_is_short(observed, crop):
    observed.start_worker()
    engine = observed.engine()
    no_limit = engine.rlimit(psutil.RLIMIT_AS)

    def work():
        observed.submit(image(crop, side=1000), steps=1, prompt=DIFFUSED)
        time.sleep(1)

    engine.rlimit(psutil.RLIMIT_AS, (engine.memory_info().vms + (24 << 20), no_limit[1]))
    observed.fires("UndegradeDeviceMemoryShort", meanwhile=work)
    observed.delete_all()
    if observed.engine() == engine:
        engine.rlimit(psutil.RLIMIT_AS, no_limit)
    observed.clears("UndegradeDeviceMemoryShort")


def test_a_queue_that_grows(observed, crop):
    observed.start_worker()

    def more_than_it_can_do():
        for _ in range(3):
            observed.submit(image(crop), steps=1000, prompt=DIFFUSED)
        time.sleep(0.5)

    observed.fires("UndegradeQueueGrowing", meanwhile=more_than_it_can_do)
    observed.delete_all()
    observed.clears("UndegradeQueueGrowing")


def test_jobs_that_end_too_late(observed, crop):
    """The fault: the worker comes half a minute too late."""
    for _ in range(6):
        observed.submit(image(crop), lane="interactive")
    time.sleep(31)
    observed.start_worker(ready=False)
    alerts = "UndegradeJobP95OverTarget", "UndegradeJobLatencyBudgetBurn", "UndegradeQueueWaitBudgetBurn"
    observed.fires(*alerts)
    observed.clears(*alerts)


def test_a_job_that_runs_for_too_long(observed, crop):
    observed.start_worker()
    observed.submit(image(crop, side=900), steps=1000, prompt=DIFFUSED)
    observed.fires("UndegradeJobStuck")
    observed.delete_all()
    observed.clears("UndegradeJobStuck")


def test_a_clock_that_differs(observed):
    if not FAKETIME.exists():
        pytest.skip("libfaketime is not installed; `make observe-tools` installs it")
    wrong = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+30s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    observed.start_worker(wrong, ready=False)
    observed.fires("UndegradeClockSkew")
    observed.processes["worker"].kill()
    observed.start_worker(ready=False)
    observed.clears("UndegradeClockSkew")


def test_jobs_that_fail(observed, crop):
    """The fault: a limit that no job can keep."""
    observed.start_worker({"UNDEGRADE_MAX_RUNNING_S": "0.05"})

    def submit():
        observed.submit(image(crop), steps=300, prompt=DIFFUSED)
        time.sleep(0.3)

    observed.fires("UndegradeJobErrorBudgetBurn", meanwhile=submit)
    observed.delete_all()
    observed.processes["worker"].kill()
    observed.start_worker()
    observed.clears("UndegradeJobErrorBudgetBurn", meanwhile=lambda: observed.submit(image(crop)))


class Received(BaseHTTPRequestHandler):
    """The webhook of an on-call program."""

    alerts: list = []  # noqa: RUF012 - of this test alone

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.alerts += [(alert["labels"]["alertname"], alert["status"]) for alert in body["alerts"]]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass


def test_webhooks_that_fail(observed, crop):
    """The fault: the receiver of all webhooks answers 500.  No worker is needed: canceled jobs have webhooks, too."""
    with Receiver().listening() as receiver:
        receiver.statuses["/hook"] = [500]
        allowed = {"UNDEGRADE_WEBHOOK_HOSTS": receiver.origin}
        observed.processes["api"].kill()
        observed.start_api(allowed)
        observed.start_webhooks(allowed)

        def end_a_job():
            job = observed.submit(image(crop), webhook_url=f"{receiver.origin}/hook").json()["id"]
            observed.client.delete(f"/jobs/{job}")

        assert "UndegradeWebhooksFailing" not in observed.firing()
        observed.fires("UndegradeWebhooksFailing", meanwhile=end_a_job)
        receiver.statuses["/hook"] = [204]
        observed.clears("UndegradeWebhooksFailing", meanwhile=end_a_job)
        observed.processes["webhooks"].kill()
        observed.fires("UndegradeWebhooksFailing", meanwhile=end_a_job, within_s=420)  # nobody sends
        observed.start_webhooks(allowed)
        observed.clears("UndegradeWebhooksFailing")


@pytest.fixture
def hook():
    """A server that takes the webhooks."""
    with HTTPServer(("127.0.0.1", 0), Received) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_no_api_and_the_page_reaches_the_pager_through_alertmanager(tmp_path, observed, hook):
    config = yaml.safe_load((OBSERVE / "alertmanager" / "alertmanager.yml").read_text())
    for receiver in config["receivers"]:
        receiver["webhook_configs"][0]["url"] = f"http://127.0.0.1:{hook.server_port}/{receiver['name']}"
    config["route"]["routes"][0] |= {"group_wait": "1s", "group_interval": "1s"}
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    words = [program("prometheus-alertmanager", "alertmanager"), f"--config.file={tmp_path}/alertmanager.yml"]
    words += [f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={tmp_path}/am", "--cluster.listen-address="]
    observed.processes["alertmanager"] = Process(words, tmp_path / "alertmanager.log")
    observed.processes["prometheus"].kill()
    (tmp_path / "rules").rename(tmp_path / "rules-before")
    observed.start_prometheus(alertmanager=port)
    observed.until(observed.knows_alertmanager, "Prometheus knows Alertmanager", 60)  # else it sends a minute later
    observed.processes["api"].kill()
    observed.fires("UndegradeApiDown")
    observed.until(lambda: ("UndegradeApiDown", "firing") in Received.alerts, "the webhook is called", 120)
    observed.start_api()
    observed.clears("UndegradeApiDown")
    observed.until(lambda: ("UndegradeApiDown", "resolved") in Received.alerts, "the webhook hears the end", 120)


def test_a_frozen_worker(observed):
    observed.start_worker()
    observed.processes["worker"].send(signal.SIGSTOP)
    observed.fires("UndegradeWorkerDown")
    observed.processes["worker"].send(signal.SIGCONT)
    observed.clears("UndegradeWorkerDown")


def test_a_worker_exports_the_metrics_of_the_table_and_no_other(observed, crop):
    observed.start_worker()
    observed.submit(image(crop), steps=20, prompt=DIFFUSED)
    observed.until(lambda: bool(observed.query("undegrade_worker_jobs_ended_total > 0")), "the job ends", 60)
    for process in ("api", "worker"):
        text = httpx.get(f"http://127.0.0.1:{observed.ports[process + '-metrics']}/metrics").text
        table = of_process(process)
        # The classic format gives a counter's whole name
        assert metric_names(text) == {spec.name for spec in table}
        done = subprocess.run(
            [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        for spec in table:
            if spec.name != "undegrade_jobs_refused_total":  # nobody knows its reasons before
                assert f"\n{spec.name}" in text, "it has a value"
