"""`undegrade top`: what it shows, in terminals of every width, from Redis and over HTTP."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.console import Console

from cli.embedded_redis import EmbeddedRedis
from cli.operator_tables import devices, duration, size
from cli.top import view
from cli.top_source import Snapshot
from service.openapi_examples import RESPONSES

WORKER = RESPONSES[("workers", "200")]["workers"][0]
LANE = RESPONSES[("queue", "200")]["queue"]["lanes"][0]
DRAINED = {**WORKER, "name": "photos-5e6f7a8b", "state": "drained", "drain": {"since_ms": 1, "by": "ada@desk"}}
BROKEN = {**WORKER, "name": "attic-1", "host": "attic", "device": "", "state": "not-ready", "reason": "no memory",
          "memory_bytes": None, "device_bytes": None}  # fmt: skip
PAUSED = {**LANE, "lane": "standard", "paused": True, "paused_since_ms": 1, "paused_by": "ada@desk", "eta_s": None}
SNAPSHOT = Snapshot(lanes=[LANE, PAUSED], workers=[WORKER, DRAINED, BROKEN])


def drawn(snapshot=SNAPSHOT, width=160, height=None, away=""):
    """The view as text, in a terminal of this size."""
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(view(snapshot, "here", width, height, away))
    return console.file.getvalue()


def test_a_wide_terminal_shows_everything():
    text = drawn()
    for word in ("24 queued", "2 running", "workers that take jobs: 1", "bulk", "paused", "by ada@desk", "photos-1a2b",
                 "drained", "not-ready", "no memory", "autodir-small 6", "31.5", "6.0 GiB", "NVIDIA L4", "570.86.15",
                 "22.5 GiB"):  # fmt: skip
        assert word in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 160, 250])
def test_no_row_breaks_in_a_terminal_of_any_width(width):
    lines = drawn(width=width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines) == len(drawn().splitlines())
    rows = [line for line in lines if line.startswith("photos-1"[: min(8, width // 4)])]
    assert rows


def test_the_columns_of_a_narrow_terminal_are_those_that_matter():
    text = drawn(width=60)
    assert "NVIDIA" not in text and "autodir-small 6" not in text
    assert re.search(r"photos-1a2b3c4d +busy +1 +31\.5", text)


def test_a_low_terminal_gets_the_first_workers_and_the_number_of_the_others():
    many = Snapshot(lanes=[LANE], workers=[{**WORKER, "name": f"w{number}"} for number in range(50)])
    text = drawn(many, height=24)
    assert len(text.splitlines()) <= 24
    assert re.search(r"and \d+ more workers", text) and "w0" in text and "w49" not in text


def test_a_source_that_is_away_is_said_above_the_last_look():
    assert "Redis does not answer; trying again" in drawn(away="Redis does not answer")


def test_an_empty_service_is_said_to_be_empty():
    text = drawn(Snapshot(lanes=[], workers=[]))
    assert "no bundle has workers or jobs" in text and "no worker is alive" in text


def test_names_from_outside_cannot_steer_the_terminal():
    evil = {**WORKER, "name": "\x1b[2J[red]evil", "host": "\u202ex"}
    text = drawn(
        Snapshot(lanes=[{**LANE, "paused": True, "paused_by": "\x1b]0;x\x07", "paused_since_ms": 1}], workers=[evil])
    )
    assert "\x1b" not in text and "\u202e" not in text and "[red]evil" in text


def test_workers_that_share_a_device_are_one_device_and_two_bundles_of_a_worker_count_once():
    second_bundle = {**WORKER, "bundle": "other"}
    (device,) = devices([WORKER, second_bundle, {**WORKER, "name": "b"}])
    assert (device["workers"], device["memory_bytes"]) == (2, 2 * WORKER["memory_bytes"])
    assert devices([BROKEN]) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.04, "0.0 s"), (4.2, "4.2 s"), (42, "42 s"), (120, "2.0 min"), (3600, "60 min"), (9000, "2.5 h"),
     (200_000, "56 h"), (900_000, "10 d")],
)  # fmt: skip
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(None, "-"), (0, "-"), (2**20, "1 MiB"), (3 * 2**29, "1.5 GiB")])
def test_sizes_are_short(count, text):
    assert size(count) == text


# From Redis and over HTTP


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


class Api(BaseHTTPRequestHandler):
    """Answers as the API does, to the key `right`; with the key `down`, as a proxy whose API is away."""

    def do_GET(self):
        key = self.headers.get("Authorization")
        status, body = 200, {"/queue": {"lanes": [LANE]}, "/workers": [WORKER]}.get(self.path)
        if key == "Bearer down":
            status, body = 502, "<html>Bad gateway</html>"
        elif key != "Bearer right":
            status, body = 403, {"code": "forbidden", "detail": "expected admin", "hint": "x"}
        text = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def api():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_json_and_text_have_the_same_workers(undegrade, api, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_API_KEY", "right")
    looked = json.loads(undegrade("top", "--json", "--url", api).out)
    assert looked["workers"] == [WORKER] and looked["lanes"] == [LANE] and looked["devices"][0]["host"] == "photos"
    text = undegrade("top", "--once", "--url", api)
    assert text.code == 0 and "photos-1a2b3c4d" in text.text and "\x1b" not in text.text
    monkeypatch.setenv("UNDEGRADE_URL", api)
    assert "photos-1a2b3c4d" in undegrade("top").text, "a pipe gets one look"


@pytest.mark.parametrize(
    ("key", "words"), [("wrong", "UNDEGRADE_API_KEY"), ("down", "got status 502"), (None, "UNDEGRADE_API_KEY")]
)
def test_a_wrong_key_and_an_api_that_is_away_are_server_errors(undegrade, api, key, words):
    result = undegrade("top", "--once", "--url", api, *(["--key", key] if key else []))
    assert result.code == 5 and words in result.err and "Traceback" not in result.err


@pytest.mark.parametrize("wrong", ["ftp://h", "localhost:8000", "http://", "http://u:secret@h:99999"])
def test_a_wrong_url_is_a_usage_error_without_its_password(undegrade, wrong):
    result = undegrade("top", "--once", "--url", wrong)
    assert result.code == 2 and "secret" not in result.err


def test_a_data_folder_without_a_running_serve_is_said_to_be_so_and_left_alone(undegrade, tmp_path):
    result = undegrade("top", "--once", "--data", tmp_path)
    assert result.code == 2 and "no `undegrade serve` runs" in result.err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_live_view_quietly_with_0_and_gives_the_screen_back(workplace, url):
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "70", "LINES": "20"}
    command = [sys.executable, "-m", "cli", "top", "--interval", "0.2", "--redis-url", url]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    out, asked, until_s = b"", False, time.monotonic() + 60
    while time.monotonic() < until_s:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            out += data
        if not asked and out.count(b"no worker is alive") >= 2:  # it has drawn twice
            process.send_signal(signal.SIGINT)
            asked = True
    os.close(ours)
    assert process.wait(30) == 0, out
    assert out.startswith(b"\x1b[?1049h") and out.rstrip().endswith(b"\x1b[?1049l")
    assert b"Traceback" not in out and b"interrupted" not in out
