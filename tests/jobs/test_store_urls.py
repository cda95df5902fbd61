"""The URL of a blob store: what is allowed, and what an error may repeat."""

import pytest
from redis.asyncio import Redis

from jobs.blob_store import open_store
from jobs.errors import StoreError


@pytest.mark.parametrize(
    "url",
    [
        "",
        "blobs",
        "/var/blobs",
        "ftp://host/x",
        "http://host/x",
        "memory://x",
        "file://blobs",
        "file://",
        "file:///",
        "file:///tmp/blobs?mode=1",
        "s3://",
        "s3://bucket?regoin=eu-west-1",
        "s3://bucket?secret_access_key=hush",
        "s3://bucket?region",
        "gs://bucket?region=x",
    ],
)
def test_the_error_for_a_wrong_url_says_what_is_allowed(valkey_url, url):
    with pytest.raises(StoreError, match="file:///FOLDER"):
        open_store(url, Redis.from_url(valkey_url))


def test_no_error_repeats_a_password(valkey_url):
    for url in ("sftp://me:hush@host/x", "s3://me:hush@bucket/x?y=1", "s3://bucket?secret_access_key=hush"):
        with pytest.raises(StoreError) as caught:
            open_store(url, Redis.from_url(valkey_url))
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "ftp://h", ""])
def test_an_endpoint_without_http_is_refused(valkey_url, endpoint):
    with pytest.raises(StoreError, match="http"):
        open_store(f"s3://pics?region=r&endpoint={endpoint}", Redis.from_url(valkey_url))


@pytest.mark.parametrize(("url", "signs"), [
    ("s3://bucket?region=eu-west-1", True), ("gs://bucket/p", False), ("az://container/p", False), ("memory://", False),
])  # fmt: skip
def test_only_s3_signs_urls_for_clients(valkey_url, monkeypatch, url, signs):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "photos")
    assert open_store(url, Redis.from_url(valkey_url)).signs is signs
