"""Wrong URLs are usage errors with the allowed words, and no message shows a password."""

import pytest
from typer.testing import CliRunner

from cli.embedded_redis import max_memory_bytes
from cli.main import app
from cli.settings import settings

COMMANDS = (["keys", "list"], ["api"], ["worker"], ["serve"])
SECRET = "SECRETWRONG"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://h:26379", "localhost:6379", f"redis://:{SECRET}@127.0.0.1:6379/0?foo=bar", "redis://h:x"],
)  # fmt: skip
def test_a_wrong_redis_url_is_a_usage_error(command, url):
    result = CliRunner().invoke(app, [*command, "--redis-url", url])
    assert result.exit_code == 2, result.output
    assert "redis://" in result.output and "valkey://" in result.output
    assert "mistake" not in result.output and "Traceback" not in result.output and SECRET not in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_wrong_redis_url_of_the_environment_is_one_too(command, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_REDIS_URL", "h:1")
    settings.cache_clear()
    try:
        assert CliRunner().invoke(app, command).exit_code == 2
    finally:
        settings.cache_clear()


@pytest.mark.parametrize("command", [["keys", "list"], ["api"]], ids=lambda words: words[0])
def test_an_unreachable_redis_is_named_without_its_password(command):
    result = CliRunner().invoke(app, [*command, "--redis-url", f"redis://u:{SECRET}@127.0.0.1:1/0"])
    assert result.exit_code == 5, result.output
    assert "127.0.0.1:1" in result.output and SECRET not in result.output


@pytest.mark.parametrize("command", [["api"], ["worker"]], ids=lambda words: words[0])
@pytest.mark.parametrize(
    "url", ["foo://x", "nothing", "s3://b?secret=1", "s3://b?region=r&endpoint=h:9000", "file:///"]
)
def test_a_wrong_store_url_is_a_usage_error(command, url):
    result = CliRunner().invoke(app, [*command, "--redis-url", "redis://127.0.0.1:1/0", "--store-url", url])
    assert result.exit_code == 2, result.output
    assert "s3://BUCKET" in result.output


def test_the_embedded_valkey_has_a_limit_of_memory():
    assert max_memory_bytes(300) == 300_000_000
    assert 2**27 <= max_memory_bytes() < 2**50
