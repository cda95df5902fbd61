"""`make image-test`: builds both images on a local base and runs them as a strict platform does.

Read-only root, no capability, a memory limit, a user id without a passwd entry and without HOME.  Prints sizes and
times.  Needs root on Debian; machine.py installs the rest.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from builds import API_IMAGE, WORKER_IMAGE, build, megabytes, rebuild_after_change
from machine import PYTHON_IMAGE, REDIS_IMAGE, REDIS_USER, make_image, prepare_podman, report, run
from scenario import Client, check_killed_worker, check_restoration, check_strangers_are_refused

ANYONE = "54321:54321"
STRICT = (
    "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges",
    "--tmpfs", "/tmp:rw,size=256m,mode=1777",
)  # fmt: skip
STOP_S = 60


class Containers:
    """Containers of one run on a network of their own."""

    def __init__(self) -> None:
        self.name = f"undegrade-{uuid4().hex[:6]}"
        self.names: list[str] = []
        run("podman", "network", "create", self.name)

    def start(self, name: str, *words: str) -> str:
        """Start a container that others reach by `name`; `words` are options, the image and its command."""
        full = f"{self.name}-{name}"
        network = ("--network", self.name, "--network-alias", name.partition("-")[0])
        run("podman", "run", "--detach", "--name", full, *network, *STRICT, *words)
        self.names.append(full)
        return full

    def start_ours(self, name: str, image: str, *words: str, memory: str) -> str:
        """Start the API or a worker, without HOME."""
        settings = ("--env", "UNDEGRADE_REDIS_URL=redis://redis:6379/0", "--env", "OMP_NUM_THREADS=1")
        without_home = ("--entrypoint", json.dumps(["env", "--unset=HOME", "undegrade"]))
        part = name.partition("-")[0]
        return self.start(name, "--user", ANYONE, "--memory", memory, *settings, *without_home, *words, image, part)

    def close(self) -> None:
        for name in self.names:
            subprocess.run(["podman", "rm", "--force", "--time", "0", name], capture_output=True, check=False)
        for kind in ("network", "volume"):
            subprocess.run(["podman", kind, "rm", "--force", self.name], capture_output=True, check=False)

    def logs(self) -> str:
        parts = []
        for name in self.names:
            words = ["podman", "logs", "--tail", "30", name]
            shown = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            parts.append(f"--- {name}\n{shown.stdout}")
        return "\n".join(parts)


@contextmanager
def containers() -> Iterator[Containers]:
    """Containers that are removed at the end, and whose logs are shown after a failure."""
    made = Containers()
    try:
        yield made
    except BaseException:
        report(made.logs())
        raise
    finally:
        made.close()


def check_image(image: str, part: str) -> None:
    """Check labels, user, health check and commands without a shell, and that no index or mirror got into it."""
    found = json.loads(run("podman", "image", "inspect", image))[0]
    config = found["Config"]
    assert config["User"] == "10001:0", config["User"]
    assert config["Entrypoint"] == ["undegrade"] and config["Cmd"] == [part], config
    assert found["HealthCheck" if "HealthCheck" in found else "Healthcheck"]["Test"] == [
        "CMD",
        "undegrade",
        "health",
        part,
    ]
    for name in ("title", "description", "licenses", "version", "revision"):
        assert config["Labels"].get(f"org.opencontainers.image.{name}") not in (None, "", "unknown"), name
    history = run("podman", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert "index-url" not in history and "://" not in history, "the history names an index"


def check_no_torch() -> None:
    """The API's image has no torch, and its command says so in a sentence."""
    command = ["podman", "run", "--rm", "--network", "none", API_IMAGE, "worker"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "this command needs torch" in done.stderr, done.stderr


def check_ends_by_sigterm(name: str) -> float:
    """Stop a container: it gets SIGTERM itself and ends by itself, before it would be killed (137).  Returns seconds.

    The API ends with 143 after it has finished its requests: 128 and the number of the signal.
    """
    start_s = time.monotonic()
    run("podman", "stop", "--time", STOP_S, name)
    code = run("podman", "inspect", "--format", "{{.State.ExitCode}}", name)
    assert code in ("0", "143"), f"{name} ended with {code} after SIGTERM"
    return time.monotonic() - start_s


def healthy(name: str) -> bool:
    """Run the image's health check in a container."""
    return subprocess.run(["podman", "healthcheck", "run", name], capture_output=True, check=False).returncode == 0


def run_strictly() -> list[tuple[str, str]]:
    """Run Redis, API and worker, kill the worker, and stop all.  Returns rows of the report."""
    with containers() as made:
        made.start(
            "redis", "--memory", "256m", "--user", str(REDIS_USER), "--volume", f"{made.name}:/data:U",
            REDIS_IMAGE, "redis-server", "--dir", "/data", "--appendonly", "yes", "--maxmemory-policy", "noeviction",
            "--protected-mode", "no",
        )  # fmt: skip
        api = made.start_ours("api", API_IMAGE, "--publish", "127.0.0.1::8000", memory="512m")
        worker = made.start_ours("worker-1", WORKER_IMAGE, memory="3g")
        url = "http://" + run("podman", "port", api, "8000/tcp")
        key = run("podman", "exec", api, "undegrade", "keys", "create", "test").splitlines()[0]
        client = Client(url, key)
        ready_s = client.until_ready()
        check_strangers_are_refused(url)
        assert healthy(api) and healthy(worker)
        photo_s = check_restoration(client)
        memory = {
            name: run("podman", "stats", "--no-stream", "--format", "{{.MemUsage}}", name) for name in (api, worker)
        }
        second: list[str] = []

        def replace() -> None:
            second.append(made.start_ours("worker-2", WORKER_IMAGE, memory="3g"))

        recovered_s = check_killed_worker(client, lambda: run("podman", "kill", worker) and None, replace)
        stop_s = check_ends_by_sigterm(second[0])
        assert healthy(api), "the API must take jobs while no worker is there"
        stop_api_s = check_ends_by_sigterm(api)
    return [
        ("from `podman run` to ready", f"{ready_s:.0f} s"), ("a photo of the examples", f"{photo_s:.1f} s"),
        ("from the kill of the worker to the last of 2 results", f"{recovered_s:.0f} s"),
        ("end after SIGTERM, worker and API", f"{stop_s:.1f} s, {stop_api_s:.1f} s"),
        ("memory of API and worker", "; ".join(memory.values())),
    ]  # fmt: skip


def main(words: Sequence[str]) -> None:
    """Run everything and print the report.

    `--no-build` takes the images of an earlier run; `--no-rebuild` does not measure a change of the code.
    """
    prepare_podman()
    base_s, redis_s = make_image(PYTHON_IMAGE), make_image(REDIS_IMAGE)
    build_s = 0.0 if "--no-build" in words else build()[0]
    rows = [
        ("local base, local Redis (0: kept from an earlier run)", f"{base_s:.0f} s, {redis_s:.0f} s"),
        ("build of both images, with the layers that were kept", f"{build_s:.0f} s"),
    ]  # fmt: skip
    rows += [(f"size of {name}", f"{megabytes(name):.0f} MB") for name in (PYTHON_IMAGE, API_IMAGE, WORKER_IMAGE)]
    if "--no-rebuild" not in words:
        rows.append(("API, worker again after a change of the code, in s", ", ".join(rebuild_after_change())))
    check_image(API_IMAGE, "api")
    check_image(WORKER_IMAGE, "worker")
    check_no_torch()
    rows += run_strictly()
    width = max(len(name) for name, _ in rows)
    report("\n" + "\n".join(f"{name:<{width}}  {value}" for name, value in rows))


if __name__ == "__main__":
    main(sys.argv[1:])
