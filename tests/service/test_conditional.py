"""If-None-Match, as in RFC 9110."""

import pytest

from service.conditional import has_current


@pytest.mark.parametrize(("given", "current"), [
    (['"a"'], True), (['W/"a"'], True), (["*"], True), (['"b", W/"a"'], True), (['"b"', '"a"'], True), (['"b"'], False),
    ([], False), (["a"], False), (['"aa"'], False), (['"b,"a"'], False), (['"x", "a, b"'], False),
])  # fmt: skip
def test_a_tag_is_compared_weakly_and_as_a_whole(given, current):
    assert has_current(given, '"a"') is current


@pytest.mark.parametrize("picture_of", ["result", "result converted", "pass"])
def test_a_picture_that_the_client_has_is_not_sent_again(client, worker, submitted, picture_of):
    job = submitted(headers={"Prefer": "wait=20"})
    result = job["result"]["url"]
    url = {"result": result, "result converted": result + "?format=webp", "pass": job["passes"][0]["image"]}[picture_of]
    answer = client.get(url)
    for tag in (answer.headers["etag"], "W/" + answer.headers["etag"], "*", '"x", ' + answer.headers["etag"]):
        again = client.get(url, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"") and again.headers["etag"] == answer.headers["etag"]
    assert answer.headers["cache-control"] == "private, no-cache"
