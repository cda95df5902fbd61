"""`GET /` and the files of the page: headers, caching, the path of a proxy, and the switch."""

import pytest

from service.page import page_files


def test_the_page_needs_no_key_and_has_a_strict_policy(serve):
    answer = serve(auth="on").client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["app.js", "style/base.css", "locales/de.json", "samples/noise.jpg", "icon.svg"])
def test_a_file_is_served_with_its_type_and_checked_again(client, path):
    first = client.get(f"/web/{path}")
    assert (first.status_code, first.content) == (200, page_files()[path].data)
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"] == page_files()[path].media_type
    second = client.get(f"/web/{path}", headers={"If-None-Match": first.headers["etag"]})
    assert (second.status_code, second.content, second.headers["etag"]) == (304, b"", first.headers["etag"])
    assert client.head(f"/web/{path}").headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize(
    "path", ["../pyproject.toml", "..%2fpyproject.toml", "", "nothing.js", "style", "%00", "/etc/passwd"]
)
def test_no_other_file_can_be_read(client, path):
    answer = client.get(f"/web/{path}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"


def test_jobs_are_still_not_cached(client, submitted):
    assert client.get(f"/jobs/{submitted()['id']}").headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("path", ["/", "/web/app.js"])
def test_without_the_page_there_is_nothing(serve, path):
    answer = serve(page=False).client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize("path", ["/", "/ai/"], ids=["stripped", "passed on"])
def test_the_page_lies_under_the_path_of_a_proxy(serve, path):
    client = serve(root_path="/ai").client
    assert "undegrade" in client.get(path).text
    assert client.get(f"{path}web/app.js").status_code == 200


def test_a_path_without_its_slash_is_redirected(serve):
    answer = serve(root_path="/ai").client.get("/ai")
    assert (answer.status_code, answer.headers["location"]) == (308, "/ai/")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_the_page_can_only_be_read(client, method):
    answer = client.request(method, "/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
