"""Downloads from a real HTTP server that cuts connections, ignores ranges, changes files and refuses requests."""

import os

import pytest

from cli.download import DownloadError, RetryPolicy, download, open_client
from models.errors import BundleError
from models.registry_files import RemoteFile

WITHOUT_PAUSES = RetryPolicy(attempts=4, first_pause_s=0.0)


@pytest.fixture
def fetch(tmp_path):
    """Downloads one file without pauses between attempts; `messages` has the reason of each pause."""
    messages = []

    def run(file):
        with open_client() as client:
            download(client, file, tmp_path / file.name, lambda done, total: None, messages.append, WITHOUT_PAUSES)
        return tmp_path / file.name

    run.messages = messages
    return run


CONTENT = bytes(range(256)) * 4000


def test_a_file_is_downloaded_and_no_partial_file_is_left(file_server, fetch, tmp_path):
    assert fetch(file_server.add("file", CONTENT)).read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file"]
    assert file_server.requests == [("/file", "", "")]


def test_a_download_resumes_after_a_cut_connection(file_server, fetch):
    file_server.cuts = [300_000, 400_000]
    assert fetch(file_server.add("file", CONTENT)).read_bytes() == CONTENT
    assert file_server.requests == [
        ("/file", "", ""), ("/file", "bytes=300000-", '"one"'), ("/file", "bytes=700000-", '"one"')
    ]  # fmt: skip
    assert file_server.sent_bytes == len(CONTENT)
    assert len(fetch.messages) == 2


def test_a_partial_file_of_an_earlier_run_is_resumed(file_server, fetch):
    file = file_server.add("file", CONTENT)
    file_server.cuts = [100_000, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"the connection broke, 4 times\. Received 100000 of 1024000 bytes"):
        fetch(file)
    assert fetch(file).read_bytes() == CONTENT
    assert file_server.requests[-1] == ("/file", "bytes=100000-", '"one"')
    assert file_server.sent_bytes == len(CONTENT)


def test_a_server_without_ranges_sends_the_whole_file_again(file_server, fetch):
    file_server.ranges, file_server.cuts = False, [300_000]
    assert fetch(file_server.add("file", CONTENT)).read_bytes() == CONTENT
    assert file_server.sent_bytes == len(CONTENT) + 300_000


@pytest.mark.parametrize("etag", ['"two"', "", 'W/"weak"'])
def test_parts_of_two_versions_are_never_mixed(file_server, fetch, tmp_path, etag):
    """The server compares a strong ETag.  Without one, only the hash of the whole file detects the change."""
    file_server.cuts = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        fetch(file_server.add("file", CONTENT[::-1], '"one"' if etag == '"two"' else etag))
    assert fetch(file_server.add("file", CONTENT, etag)).read_bytes() == CONTENT
    assert file_server.requests[-1][1] == ("bytes=300000-" if etag == '"two"' else "")


def test_a_partial_file_longer_than_the_file_is_discarded(file_server, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    assert fetch(file_server.add("file", CONTENT)).read_bytes() == CONTENT
    assert file_server.requests == [("/file", "", "")]


def test_a_file_with_the_wrong_hash_is_reported_and_not_kept(file_server, fetch, tmp_path):
    file = file_server.add("file", CONTENT)
    file_server.files["/file"] = CONTENT[::-1]
    with pytest.raises(BundleError, match=rf"sha256 .*the registry has {file.sha256[:12]}"):
        fetch(file)
    assert not (tmp_path / "file").exists()
    assert (tmp_path / "file.part").stat().st_size == 0


@pytest.mark.parametrize("other", [b"<html>log in</html>", CONTENT + b"."])
def test_a_file_of_another_size_is_refused_from_its_headers(file_server, fetch, tmp_path, other):
    file = file_server.add("file", CONTENT)
    file_server.files["/file"] = other
    with pytest.raises(BundleError, match=f"has {len(other)} bytes, the registry has {len(CONTENT)}"):
        fetch(file)
    assert not (tmp_path / "file").exists()


def test_only_temporary_refusals_are_retried(file_server, fetch):
    file = file_server.add("file", CONTENT)
    file_server.refusals = [(503, {"Retry-After": "0"}), (500, {}), (429, {})]
    assert fetch(file).read_bytes() == CONTENT
    assert [message.split(";")[0] for message in fetch.messages] == [
        "the server answered 503 Service Unavailable", "the server answered 500 Internal Server Error",
        "the server answered 429 Too Many Requests",
    ]  # fmt: skip
    for status in (401, 403, 404, 410):
        file_server.requests.clear()
        file_server.refusals = [(status, {})]
        with pytest.raises(DownloadError, match=f"answered {status} "):
            fetch(file.model_copy(update={"name": "other"}))
        assert len(file_server.requests) == 1


def test_the_number_of_attempts_is_limited(file_server, fetch):
    file_server.refusals = [(500, {})] * 100
    with pytest.raises(DownloadError, match="500 Internal Server Error, 4 times"):
        fetch(file_server.add("file", CONTENT))
    assert len(file_server.requests) == 4


def test_retry_after_sets_the_pause(file_server, tmp_path):
    file_server.refusals = [(503, {"Retry-After": "1"})]
    messages = []
    with open_client() as client:
        download(
            client, file_server.add("file", b"x"), tmp_path / "file", lambda *_: None, messages.append, WITHOUT_PAUSES
        )
    assert messages == ["the server answered 503 Service Unavailable; trying again in 1 s"]


def test_an_unreachable_server_is_reported_without_the_query_of_the_url(fetch):
    file = RemoteFile(name="file", url="http://127.0.0.1:1/file?token=secret", sha256="0" * 64, bytes=1)
    with pytest.raises(DownloadError, match="cannot be reached") as error:
        fetch(file)
    assert "secret" not in str(error.value)


def test_a_redirect_is_followed(file_server, fetch):
    file = file_server.add("file", CONTENT)
    file_server.refusals = [(302, {"Location": "/moved"})]
    file_server.files["/moved"], file_server.etags["/moved"] = CONTENT, ""
    assert fetch(file).read_bytes() == CONTENT


def test_progress_starts_at_the_received_bytes_and_ends_at_the_size(file_server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:300_000])
    progress = []
    with open_client() as client:
        file = file_server.add("file", CONTENT)
        download(client, file, tmp_path / "file", lambda *now: progress.append(now), print, WITHOUT_PAUSES)
    assert progress == sorted(progress)
    assert (progress[0][0], progress[-1]) == (300_000, (len(CONTENT), len(CONTENT)))
