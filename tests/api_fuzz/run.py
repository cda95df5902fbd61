"""Starts the service with an empty data folder, lets schemathesis send it generated requests, and stops it.

    python tests/api_fuzz/run.py SCHEMATHESIS [--minutes N] [--log FILE]

The exit code is that of schemathesis, or 1 if the service did not start or did not survive.  `schemathesis.toml` holds
the checks.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_S, SETTLE_S, STOP_S, POLL_S = 300, 120, 60, 0.5


def main() -> int:
    """Run schemathesis against a service of its own and return its exit code."""
    parser = argparse.ArgumentParser(description="Send generated requests to a service of its own.")
    parser.add_argument("schemathesis", help="the program `schemathesis`")
    parser.add_argument("--minutes", type=float, default=5, help="how long to send requests (default: 5)")
    parser.add_argument("--log", type=Path, help="write the service's log to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the service ends, too
    with tempfile.TemporaryDirectory(prefix="undegrade-fuzz-") as folder:
        log = options.log or Path(folder, "serve.log")
        with _service(Path(folder, "data"), log) as (url, process):
            before = _memory_mb(process.pid)
            code = _schemathesis(options.schemathesis, url, options.minutes)
            survived = _ready(url, process, SETTLE_S)
            _report(f"API process: {before:.0f} MB before, {_memory_mb(process.pid):.0f} MB after")
            _report(f"/readyz afterwards: {'ready' if survived else 'NOT ready'}")
        if not survived:
            sys.stderr.write(log.read_text()[-5000:])
    return code or (0 if survived else 1)


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@contextmanager
def _service(data: Path, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `undegrade serve` until it is ready; yield its URL.  It ends by SIGTERM, with all its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "cli", "serve", "--port", str(port), "--data", str(data)]
    environment = {**_without_settings(), "UNDEGRADE_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {f"UNDEGRADE_{kind}_HOSTS": "receiver.invalid" for kind in ("WEBHOOK", "RESULT")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        if not _ready(url, process, START_S):
            raise SystemExit(f"the service was not ready after {START_S} s:\n{log.read_text()[-5000:]}")
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _without_settings() -> dict[str, str]:
    """Return the environment without the developer's own settings of undegrade."""
    return {name: value for name, value in os.environ.items() if not name.startswith("UNDEGRADE_")}


def _ready(url: str, process: subprocess.Popen[bytes], limit_s: float) -> bool:
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=10):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
    return False


def _schemathesis(program: str, url: str, minutes: float) -> int:
    command = [program, "--config-file", str(ROOT / "schemathesis.toml"), "run", f"{url}/openapi.json"]
    command += ["--max-time", str(max(1, round(minutes * 60))), "--phases", "examples,coverage,fuzzing,stateful"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _memory_mb(pid: int) -> float:
    """Return the resident memory of a process in megabytes, 0 where /proc does not say it."""
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
