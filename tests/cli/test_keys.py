"""`undegrade keys`: made once, listed without the secret, revoked for good."""

import re

import pytest

from cli.embedded import EmbeddedRedis


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


def test_a_key_is_shown_once_listed_and_revoked(undegrade, url):
    made = undegrade("keys", "create", "website", "--redis-url", url)
    assert made.code == 0
    key_id = re.fullmatch(rb"ud_([0-9a-f]{12})_[\w-]{43}\n", made.out)[1].decode()
    listed = undegrade("keys", "list", "--redis-url", url)
    assert key_id in listed.out.decode() and "website" in listed.out.decode()
    assert made.out.strip() not in listed.out
    assert undegrade("keys", "revoke", key_id, "--redis-url", url).code == 0
    again = undegrade("keys", "revoke", key_id, "--redis-url", url)
    assert (again.code, "there is no key" in again.err) == (2, True)
    assert "no keys" in undegrade("keys", "list", "--redis-url", url).err


def test_a_redis_that_is_away_is_named(undegrade, tmp_path):
    away = undegrade("keys", "list", "--redis-url", f"unix://{tmp_path}/none.sock")
    assert away.code == 5
    assert "cannot reach Redis" in away.err
    assert "Traceback" not in away.err
