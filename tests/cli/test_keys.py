"""`undegrade keys` against an embedded Redis."""

import re

import pytest

from cli.embedded_redis import EmbeddedRedis


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


def test_a_key_is_created_listed_without_its_secret_and_revoked(undegrade, url):
    made = undegrade("keys", "create", "website", "--redis-url", url)
    assert made.code == 0
    key_id = re.fullmatch(rb"ud_([0-9a-f]{12})_[\w-]{43}\n", made.out)[1].decode()
    listed = undegrade("keys", "list", "--redis-url", url)
    assert key_id in listed.out.decode() and "website" in listed.out.decode()
    assert made.out.strip() not in listed.out
    assert undegrade("keys", "revoke", key_id, "--redis-url", url).code == 0
    again = undegrade("keys", "revoke", key_id, "--redis-url", url)
    assert (again.code, "no key has the id" in again.err) == (2, True)
    assert "no keys" in undegrade("keys", "list", "--redis-url", url).err


def test_an_unreachable_redis_is_reported(undegrade, tmp_path):
    result = undegrade("keys", "list", "--redis-url", f"unix://{tmp_path}/none.sock")
    assert result.code == 5
    assert "cannot reach Redis" in result.err
    assert "Traceback" not in result.err


def test_the_keys_of_serve_are_reached_through_its_data_folder_running_or_not(undegrade, tmp_path):
    data = tmp_path / "serve"
    assert undegrade("keys", "create", "before", "--data", str(data)).code == 0
    with EmbeddedRedis(data) as redis:
        assert undegrade("keys", "create", "meanwhile", "--data", str(data)).code == 0
        through_its_url = undegrade("keys", "list", "--redis-url", redis.url).out.decode()
    assert "before" in through_its_url and "meanwhile" in through_its_url
    afterwards = undegrade("keys", "list", "--data", str(data)).out.decode()
    assert "before" in afterwards and "meanwhile" in afterwards


@pytest.mark.parametrize("ran_before", [True, False])
def test_without_a_url_the_keys_are_those_of_serve_on_this_machine(undegrade, tmp_path, monkeypatch, ran_before):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("UNDEGRADE_PORT", "8123")
    monkeypatch.delenv("UNDEGRADE_REDIS_URL", raising=False)
    if ran_before:
        (tmp_path / "undegrade" / "serve-8123").mkdir(parents=True)
    assert undegrade("keys", "create", "website").code == 0
    assert (tmp_path / "undegrade" / "serve-8123").stat().st_mode & 0o077 == 0
    with EmbeddedRedis(tmp_path / "undegrade" / "serve-8123") as redis:
        assert "website" in undegrade("keys", "list", "--redis-url", redis.url).out.decode()


def test_a_name_is_shown_as_it_was_given(undegrade, url):
    assert undegrade("keys", "create", "[red]a[/red] [link=x]", "--redis-url", url).code == 0
    assert "[red]a[/red] [link=x]" in undegrade("keys", "list", "--redis-url", url).out.decode()


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[2J", "a\nb", "\u200b"])
def test_a_name_that_cannot_be_shown_is_a_usage_error(undegrade, url, name):
    result = undegrade("keys", "create", name, "--redis-url", url)
    assert result.code == 2 and "NAME" in result.err and not result.out
