"""The nginx configuration of docs/proxies.md, in a real nginx before a real API on a Unix socket."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light"),
]
ROOT = Path(__file__).parents[2]
(CONFIGURATION,) = re.findall(r"^```nginx\n(.*?)^```", (ROOT / "docs/proxies.md").read_text(), re.MULTILINE | re.DOTALL)
(COMMANDS,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/proxies.md").read_text(), re.MULTILINE | re.DOTALL)
WHOLE = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {servers}
}}
"""


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="ng-", dir="/tmp") as name:
        Path(name).chmod(0o755)  # nginx' workers are another user
        yield Path(name)


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def nginx(folder, port, valkey, eventually):
    """A client of nginx, as http://photos.example."""
    exports = dict(re.findall(r"^export (\w+)=(\S+)", COMMANDS, re.MULTILINE))
    assert set(exports) == {"UNDEGRADE_TRUSTED_PROXIES", "UNDEGRADE_ALLOWED_HOSTS"}
    api = [sys.executable, "-m", "cli", "api", "--bundle", "toy", "--redis-url", valkey.url, "--store-url", valkey.url]
    api += ["--unix-socket", folder / "api.sock", "--unix-socket-mode", "666"]
    path, environment = folder / "nginx.conf", {**os.environ, "PYTHONPATH": str(ROOT), **exports}
    servers = CONFIGURATION.replace("/run/undegrade/api.sock", f"{folder}/api.sock").replace(
        "listen 80;", f"listen {port};"
    )
    assert servers.count(str(folder)) == servers.count(f"listen {port};") == 1
    path.write_text(WHOLE.format(folder=folder, servers=servers))
    programs = [subprocess.Popen(api, env=environment), subprocess.Popen([NGINX, "-c", path], env=environment)]
    headers = {"Host": "photos.example"}
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60)

    def ready():
        try:
            return client.get("/ai/livez").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        eventually(ready, 60)
        yield client
    finally:
        client.close()
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait(30)


def test_a_photo_is_restored_through_nginx_by_the_urls_of_the_answers(nginx, worker, picture, eventually):
    eventually(lambda: nginx.get("/ai/readyz").status_code == 200)
    answer = nginx.post("/ai/restore", files={"image": picture()}, headers={"Prefer": "wait=20"})
    job = answer.json()
    assert answer.status_code == 200 and answer.headers["location"] == f"/ai/jobs/{job['id']}"
    image = nginx.get(job["result"]["url"])
    assert image.status_code == 200 and image.headers["content-type"] == "image/png"
    assert nginx.head(job["result"]["url"]).headers["etag"] == image.headers["etag"]
    again = nginx.get(job["result"]["url"], headers={"If-None-Match": image.headers["etag"]})
    assert again.status_code == 304
    assert {"url": "/ai"} in nginx.get("/ai/openapi.json").json()["servers"]


def test_events_arrive_one_by_one(nginx, toy, picture):
    worker = toy(hold=True)
    job = nginx.post("/ai/restore", files={"image": picture()}).json()["id"]
    seen = []
    with nginx.stream("GET", f"/ai/jobs/{job}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if "detected" in seen:
                worker.go.set()  # a proxy that buffers would never let us come here
    assert seen[0] == "queued" and seen[-1] == "completed"


def test_refusals_of_the_api_pass_through_as_problems(nginx):
    for method, path, status in [
        ("GET", "/ai/nowhere", 404),
        ("PUT", "/ai/restore", 405),
        ("GET", "/ai/jobs?x=1", 422),
    ]:
        answer = nginx.request(method, path)
        assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    assert nginx.put("/ai/restore").headers["allow"] == "OPTIONS, POST"
    assert nginx.options("/ai/restore").status_code == 204 and nginx.head("/ai/nowhere").status_code == 404


def test_what_a_client_writes_into_forwarded_headers_does_not_count(nginx, picture):
    spoofed = {
        "X-Forwarded-Prefix": "/evil", "Forwarded": "for=1.2.3.4;host=evil.example", "X-Forwarded-Host": "evil.example",
    }  # fmt: skip
    answer = nginx.post("/ai/restore", files={"image": picture()}, headers=spoofed)
    assert answer.status_code == 202 and answer.headers["location"].startswith("/ai/jobs/")


def test_the_name_and_the_origin_are_those_of_the_client(nginx, picture):
    assert nginx.get("/ai/limits", headers={"Host": "evil.example"}).status_code == 421
    own, other = {"Origin": "http://photos.example"}, {"Origin": "http://evil.example"}
    assert nginx.post("/ai/restore", files={"image": picture()}, headers=own).status_code == 202
    assert nginx.post("/ai/restore", files={"image": picture()}, headers=other).status_code == 403


def test_an_upload_of_the_largest_size_passes_and_a_larger_one_is_told_so_by_the_api(nginx):
    answer = nginx.post("/ai/restore", content=bytes(31_000_000), headers={"Content-Type": "image/png"})
    assert answer.status_code == 413 and answer.json()["code"] == "too-large"
