"""The service behind a proxy, under a path."""

import pytest


@pytest.mark.parametrize("path", ["/restore", "/ai/restore"], ids=["stripped", "passed on"])
@pytest.mark.parametrize("way", ["setting", "header"])
def test_every_url_has_the_prefix(serve, worker, picture, path, way):
    settings = {"root_path": "/ai"} if way == "setting" else {"trusted_proxies": ("127.0.0.0/8",)}
    headers = {"X-Forwarded-Prefix": "/ai"} if way == "header" else {}
    client = serve(**settings).client
    answer = client.post(path, files={"image": picture()}, headers={"Prefer": "wait=20", **headers})
    job = answer.json()
    assert answer.headers["location"] == f"/ai/jobs/{job['id']}"
    assert job["result"]["url"] == f"/ai/jobs/{job['id']}/result"
    assert job["passes"][0]["image"] == f"/ai/jobs/{job['id']}/passes/1/image"
    assert client.get(job["result"]["url"], headers=headers).status_code == 200
    assert {"url": "/ai"} in client.get("/openapi.json", headers=headers).json()["servers"]


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",)])
def test_a_stranger_cannot_set_the_prefix(serve, picture, trusted):
    client = serve(trusted_proxies=trusted).client
    answer = client.post("/restore", files={"image": picture()}, headers={"X-Forwarded-Prefix": "/evil"})
    assert answer.headers["location"].startswith("/jobs/")


@pytest.mark.parametrize("prefix", ["//evil.example", "/a b", "/<script>", "ai", "/a/../.."])
def test_a_prefix_that_is_not_a_path_is_ignored(serve, picture, prefix):
    client = serve(trusted_proxies=("*",)).client
    answer = client.post("/restore", files={"image": picture()}, headers={"X-Forwarded-Prefix": prefix})
    assert answer.headers["location"].startswith("/jobs/")
