"""The server, the key and the deadline of a client."""

import httpx
import pytest

from undegrade_client import Client, ConfigurationError
from undegrade_client.exchange import Request
from undegrade_client.settings import Settings, read_settings
from undegrade_client.transport import http_request


def test_arguments_come_before_variables_and_these_before_the_default(monkeypatch):
    assert read_settings(None, None, 1) == Settings(server="http://127.0.0.1:8000", timeout_s=1)
    monkeypatch.setenv("UNDEGRADE_SERVER", "https://photos.example/ai/")
    monkeypatch.setenv("UNDEGRADE_API_KEY", " udg_1\n")
    assert read_settings(None, None, 1) == Settings(server="https://photos.example/ai", api_key="udg_1", timeout_s=1)
    assert read_settings("http://[::1]:9", "udg_2", 1) == Settings(
        server="http://[::1]:9", api_key="udg_2", timeout_s=1
    )


@pytest.mark.parametrize(
    "server", ["photos.example", "ftp://x", "http://", "http://x:port", "http://x/?a=1", "http://x#a"]
)
def test_a_server_that_is_no_url_is_refused(server):
    with pytest.raises(ConfigurationError, match="expected a URL"):
        Client(server)


def test_a_refusal_does_not_repeat_a_password_or_a_key():
    with pytest.raises(ConfigurationError) as refused:
        Client("ftp://me:secret@host")
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigurationError) as refused:
        Client(api_key="udg_seçret")
    assert "ret" not in str(refused.value).replace("characters", "")


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_deadline_that_is_none_is_refused(timeout_s):
    with pytest.raises(ConfigurationError, match="timeout_s"):
        Client(timeout_s=timeout_s)


def test_only_the_server_gets_the_key_and_a_presigned_url_keeps_its_query():
    settings = Settings(server="http://host/ai", api_key="udg_1")
    with httpx.Client() as http:
        ours = http_request(http, settings, Request("GET", "/jobs/1", params={"wait": "5"}))
        other = http_request(http, settings, Request("PUT", "http://store/bucket?X-Amz-Signature=a%2Fb", body=b"x"))
    assert (str(ours.url), ours.headers["authorization"]) == ("http://host/ai/jobs/1?wait=5", "Bearer udg_1")
    assert str(other.url) == "http://store/bucket?X-Amz-Signature=a%2Fb" and "authorization" not in other.headers
