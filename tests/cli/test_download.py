"""One file from a real HTTP server that cuts, forgets, changes and refuses."""

import os

import pytest

from cli.download import DownloadError, Patience, download, open_client
from models.errors import BundleError
from models.registry import RemoteFile

AT_ONCE = Patience(tries=4, first_s=0.0)


@pytest.fixture
def fetch(tmp_path):
    """Download one file without pauses, and what was said meanwhile."""
    said = []

    def run(file):
        with open_client() as client:
            download(client, file, tmp_path / file.name, lambda done, total: None, said.append, AT_ONCE)
        return tmp_path / file.name

    run.said = said
    return run


CONTENT = bytes(range(256)) * 4000


def test_a_file_comes_whole_and_nothing_lies_beside_it(shop, fetch, tmp_path):
    assert fetch(shop.add("file", CONTENT)).read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file"]
    assert shop.asked == [("/file", "", "")]


def test_a_cut_connection_is_taken_up_where_it_ended(shop, fetch):
    shop.cuts = [300_000, 400_000]
    assert fetch(shop.add("file", CONTENT)).read_bytes() == CONTENT
    assert shop.asked == [
        ("/file", "", ""), ("/file", "bytes=300000-", '"one"'), ("/file", "bytes=700000-", '"one"')
    ]  # fmt: skip
    assert shop.sent_bytes == len(CONTENT)
    assert len(fetch.said) == 2


def test_a_part_of_an_earlier_run_is_taken_up(shop, fetch):
    file = shop.add("file", CONTENT)
    shop.cuts = [100_000, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"the connection broke, 4 times\. 100000 of 1024000 bytes"):
        fetch(file)
    assert fetch(file).read_bytes() == CONTENT
    assert shop.asked[-1] == ("/file", "bytes=100000-", '"one"')
    assert shop.sent_bytes == len(CONTENT)


def test_a_server_without_ranges_sends_it_whole_again(shop, fetch):
    shop.ranges, shop.cuts = False, [300_000]
    assert fetch(shop.add("file", CONTENT)).read_bytes() == CONTENT
    assert shop.sent_bytes == len(CONTENT) + 300_000


@pytest.mark.parametrize("tag", ['"two"', "", 'W/"weak"'])
def test_a_file_that_changed_meanwhile_is_not_mixed(shop, fetch, tmp_path, tag):
    """With a tag the server notices; without one, or with a weak one, only the hash of the whole can tell."""
    shop.cuts = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        fetch(shop.add("file", CONTENT[::-1], '"one"' if tag == '"two"' else tag))
    assert fetch(shop.add("file", CONTENT, tag)).read_bytes() == CONTENT
    assert shop.asked[-1][1] == ("bytes=300000-" if tag == '"two"' else "")


def test_a_part_that_is_longer_than_the_file_is_dropped(shop, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    assert fetch(shop.add("file", CONTENT)).read_bytes() == CONTENT
    assert shop.asked == [("/file", "", "")]


def test_a_wrong_hash_is_named_and_nothing_is_kept(shop, fetch, tmp_path):
    file = shop.add("file", CONTENT)
    shop.files["/file"] = CONTENT[::-1]
    with pytest.raises(BundleError, match=rf"sha256 .*the registry says {file.sha256[:12]}"):
        fetch(file)
    assert not (tmp_path / "file").exists()
    assert (tmp_path / "file.part").stat().st_size == 0


@pytest.mark.parametrize("other", [b"<html>log in</html>", CONTENT + b"."])
def test_another_size_is_refused_on_the_head(shop, fetch, tmp_path, other):
    file = shop.add("file", CONTENT)
    shop.files["/file"] = other
    with pytest.raises(BundleError, match=f"has {len(other)} bytes, the registry says {len(CONTENT)}"):
        fetch(file)
    assert not (tmp_path / "file").exists()


def test_a_refusal_that_may_pass_is_tried_again_and_one_that_will_not_is_not(shop, fetch):
    file = shop.add("file", CONTENT)
    shop.refusals = [(503, {"Retry-After": "0"}), (500, {}), (429, {})]
    assert fetch(file).read_bytes() == CONTENT
    assert [said.split(";")[0] for said in fetch.said] == [
        "the server answered 503 Service Unavailable", "the server answered 500 Internal Server Error",
        "the server answered 429 Too Many Requests",
    ]  # fmt: skip
    for status in (401, 403, 404, 410):
        shop.asked.clear()
        shop.refusals = [(status, {})]
        with pytest.raises(DownloadError, match=f"answered {status} "):
            fetch(file.model_copy(update={"name": "other"}))
        assert len(shop.asked) == 1


def test_a_server_is_not_tried_for_ever(shop, fetch):
    shop.refusals = [(500, {})] * 100
    with pytest.raises(DownloadError, match="500 Internal Server Error, 4 times"):
        fetch(shop.add("file", CONTENT))
    assert len(shop.asked) == 4


def test_a_pause_that_the_server_asks_for_is_kept(shop, tmp_path):
    shop.refusals = [(503, {"Retry-After": "1"})]
    said = []
    with open_client() as client:
        download(client, shop.add("file", b"x"), tmp_path / "file", lambda *_: None, said.append, AT_ONCE)
    assert said == ["the server answered 503 Service Unavailable; trying again in 1 s"]


def test_a_server_that_is_not_there_is_a_sentence(fetch):
    file = RemoteFile(name="file", url="http://127.0.0.1:1/file?token=secret", sha256="0" * 64, bytes=1)
    with pytest.raises(DownloadError, match="cannot be reached") as raised:
        fetch(file)
    assert "secret" not in str(raised.value)


def test_a_redirect_is_followed(shop, fetch):
    file = shop.add("file", CONTENT)
    shop.refusals = [(302, {"Location": "/moved"})]
    shop.files["/moved"], shop.tags["/moved"] = CONTENT, ""
    assert fetch(file).read_bytes() == CONTENT


def test_progress_goes_up_to_all_of_it_and_begins_at_what_is_there(shop, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:300_000])
    told = []
    with open_client() as client:
        file = shop.add("file", CONTENT)
        download(client, file, tmp_path / "file", lambda *now: told.append(now), print, AT_ONCE)
    assert told == sorted(told)
    assert (told[0][0], told[-1]) == (300_000, (len(CONTENT), len(CONTENT)))
