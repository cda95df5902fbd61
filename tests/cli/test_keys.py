"""`undegrade keys` against an embedded Redis."""

import json
import re
import time

import pytest
from redis import Redis

from cli.embedded_redis import EmbeddedRedis
from cli.key_options import read_expiry
from models.errors import ControlsError


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
    assert (again.code, f"has the id {key_id}" in again.err) == (2, True)
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


def row(undegrade, url, name):
    """A key as `keys list --json` prints it."""
    lines = undegrade("keys", "list", "--json", "--redis-url", url).text.splitlines()
    return next(entry for entry in map(json.loads, lines) if entry["name"] == name)


def test_a_key_is_created_with_everything_that_is_asked_for_and_listed_with_it(undegrade, url):
    words = "--quota requests=10/s --quota jobs=100 --quota megapixels=5000/day --quota waits=20 --weight 2"
    words += " --scope restore --scope read --expires 90d"
    assert undegrade("keys", "create", "all", *words.split(), "--redis-url", url).code == 0
    key = row(undegrade, url, "all")
    assert key["quotas"] == {"requests": "10/s", "jobs": "100", "megapixels": "5000/day", "waits": "20"}
    assert (key["weight"], key["scopes"], key["expired"], key["last_used"]) == (2, ["restore", "read"], False, None)
    expires_s = time.mktime(time.strptime(key["expires"] + " UTC", "%Y-%m-%dT%H:%M:%SZ %Z")) - time.timezone
    assert abs(expires_s - time.time() - 90 * 24 * 3600) < 24 * 3600
    table = undegrade("keys", "list", "--redis-url", url).text
    for text in ("requests=10/s", "megapixels=5000/day", "restore", key["expires"][:10]):
        assert text in table


def test_admin_is_a_scope(undegrade, url):
    assert undegrade("keys", "create", "a", "--admin", "--redis-url", url).code == 0
    assert undegrade("keys", "create", "b", "--scope", "admin", "--redis-url", url).code == 0
    assert row(undegrade, url, "a")["scopes"] == row(undegrade, url, "b")["scopes"] == ["admin"]


def test_an_update_changes_what_it_names_and_the_key_stays(undegrade, url):
    words = ("--quota", "requests=10/s", "--quota", "burst=30", "--quota", "jobs=5", "--redis-url", url)
    secret = undegrade("keys", "create", "before", *words).text
    before = row(undegrade, url, "before")
    assert before["id"] in secret

    def update(*words):
        return undegrade("keys", "update", before["id"], *words, "--redis-url", url)

    assert update("--quota", "jobs=7", "--quota", "waits=unlimited", "--name", "after", "--expires", "2w").code == 0
    after = row(undegrade, url, "after")
    assert after["quotas"] == {"requests": "10/s", "burst": "30", "jobs": "7", "waits": "unlimited"}
    assert after["expires"] and (after["scopes"], after["created"]) == (before["scopes"], before["created"])
    assert update("--quota", "requests=default", "--expires", "never", "--scope", "read", "--weight", "9").code == 0
    after = row(undegrade, url, "after")
    assert after["quotas"] == {"jobs": "7", "waits": "unlimited"}, "the burst went with its requests"
    assert (after["expires"], after["scopes"], after["weight"]) == (None, ["read"], 9)
    assert update().code == 2
    missing = undegrade("keys", "update", "000000000000", "--weight", "2", "--redis-url", url)
    assert missing.code == 2 and "has the id" in missing.err


@pytest.mark.parametrize("words", [
    "--quota jobs", "--quota jobs=many", "--quota speed=9", "--quota burst=9", "--quota jobs=default",
    "--quota requests=10/day", "--quota jobs=1 --quota jobs=2", "--scope paint", "--expires 90", "--expires 0d",
    "--expires 2027-01-01", "--weight 0", "--weight 1001",
])  # fmt: skip
def test_a_bad_option_is_a_usage_error_and_makes_no_key(undegrade, url, words):
    result = undegrade("keys", "create", "bad", *words.split(), "--redis-url", url)
    assert result.code == 2 and not result.out and "Traceback" not in result.err
    assert "bad" not in undegrade("keys", "list", "--redis-url", url).text


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("90d", 2160), ("8w", 1344)])
def test_an_expiry_counts_from_now(text, hours):
    assert read_expiry(text, now_s=1000.0) == 1_000_000 + hours * 3_600_000
    assert read_expiry("never") is None
    with pytest.raises(ControlsError):
        read_expiry("99999999w")


def test_a_new_key_names_the_place_where_it_is_stored(undegrade, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("UNDEGRADE_REDIS_URL", raising=False)
    monkeypatch.delenv("UNDEGRADE_PORT", raising=False)
    assert f"stored in the data folder {tmp_path}/undegrade/serve-8000. " in undegrade("keys", "create", "a").err
    data = str(tmp_path / "other")
    made = undegrade("keys", "create", "b", "--data", data)
    assert f"stored in the data folder {data}. " in made.err and made.out.startswith(b"ud_")
    assert f"no key in the data folder {data} has" in undegrade("keys", "revoke", "0" * 12, "--data", data).err


def test_a_new_key_names_its_redis_without_the_password(undegrade, tmp_path):
    with EmbeddedRedis(tmp_path / "redis") as redis:
        with Redis.from_url(redis.url) as client:
            client.acl_setuser("tenant", enabled=True, passwords=["+hunter2"], keys=["*"], commands=["+@all"])
        url = f"{redis.url}?username=tenant&password=hunter2"
        made = undegrade("keys", "create", "a", "--redis-url", url)
        none = undegrade("keys", "list", "--redis-url", url.replace("hunter2", "wrong"))
    assert made.code == 0 and f"stored in Redis at {redis.url}?username=tenant&password=***. " in made.err
    assert "hunter2" not in made.err and "wrong" not in none.err
