"""Prefer and Accept, as their RFCs have them."""

import pytest

from service.job_ids import born_ms, new_id
from service.negotiation import accepted, other_format, preference, wants_picture
from service.refusals import NotAcceptable


@pytest.mark.parametrize(("prefer", "wait_s", "applied"), [
    (["wait=5"], 5, "wait=5"), (["respond-async, wait=10"], 0, "respond-async"), (["wait=600"], 60, "wait=60"),
    (["handling=lenient", "WAIT = \"7\""], 7, "wait=7"), (["wait=0"], 30, None), (["wait=soon"], 30, None),
    (["wait=-1"], 30, None), ([], 30, None), (["wait=5; x=1"], 5, "wait=5"),
])  # fmt: skip
def test_a_preference_is_applied_or_ignored_and_says_which(prefer, wait_s, applied):
    found = preference(prefer, 30)
    assert (found.wait_s, found.applied) == (wait_s, applied)


@pytest.mark.parametrize(("accept", "picture"), [
    (None, False), ("*/*", False), ("image/*", True), ("image/png", True), ("application/json", False),
    ("image/*, application/problem+json", True), ("application/json;q=0.5, image/webp", True),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", False),
    ("image/avif,image/webp,*/*;q=0.8", True), ("", False),
])  # fmt: skip
def test_a_picture_is_wanted_when_it_is_the_first_choice(accept, picture):
    assert wants_picture(accept) is picture


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0, text/plain", "video/*"])
def test_neither_is_406(accept):
    with pytest.raises(NotAcceptable):
        wants_picture(accept)


@pytest.mark.parametrize(("accept", "own", "other"), [
    (None, "png", None), ("image/*", "png", None), ("image/png", "png", None), ("image/webp", "png", "webp"),
    ("image/gif, image/jpeg;q=0.3, image/avif;q=0.5", "png", "avif"), ("image/webp;q=0, image/png", "webp", "png"),
])  # fmt: skip
def test_a_picture_is_changed_only_when_it_must_be(accept, own, other):
    assert other_format(accept, own) == other


def test_quality_orders_what_is_accepted():
    assert accepted("a/a;q=0.2, b/b, c/c;q=0.9, d/d;q=0") == ["b/b", "c/c", "a/a"]


def test_an_id_is_a_uuid_of_version_7_that_tells_its_time_and_sorts_by_it():
    import uuid

    ids = [new_id(1_700_000_000_000 + i) for i in range(100)]
    assert ids == sorted(ids) and len(set(new_id(5) for _ in range(1000))) == 1000
    assert all(uuid.UUID(i).version == 7 and uuid.UUID(i).variant == uuid.RFC_4122 for i in ids)
    assert born_ms(ids[3]) == 1_700_000_000_003 and born_ms("zz") is None
