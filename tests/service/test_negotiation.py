"""Prefer (RFC 7240) and Accept (RFC 9110)."""

import pytest

from service.negotiation import accepted_types, format_to_convert_to, output_format, prefers_image, wait_preference
from service.refusals import NotAcceptable


@pytest.mark.parametrize(("prefer", "wait_s", "applied"), [
    (["wait=5"], 5, "wait=5"), (["respond-async, wait=10"], 0, "respond-async"), (["wait=600"], 60, "wait=60"),
    (["handling=lenient", "WAIT = \"7\""], 7, "wait=7"), (["wait=0"], 30, None), (["wait=soon"], 30, None),
    (["wait=-1"], 30, None), ([], 30, None), (["wait=5; x=1"], 5, "wait=5"),
])  # fmt: skip
def test_a_preference_is_applied_and_reported_or_ignored(prefer, wait_s, applied):
    preference = wait_preference(prefer, 30)
    assert (preference.wait_s, preference.applied) == (wait_s, applied)


@pytest.mark.parametrize(("accept", "image"), [
    (None, False), ("*/*", False), ("image/*", True), ("image/png", True), ("application/json", False),
    ("image/*, application/problem+json", True), ("application/json;q=0.5, image/webp", True),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", False),
    ("image/avif,image/webp,*/*;q=0.8", True), ("", False),
])  # fmt: skip
def test_a_client_prefers_the_image_if_an_image_type_is_its_first_choice(accept, image):
    assert prefers_image(accept) is image


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0, text/plain", "video/*"])
def test_a_client_that_accepts_neither_json_nor_images_is_refused(accept):
    with pytest.raises(NotAcceptable):
        prefers_image(accept)


@pytest.mark.parametrize(("accept", "current", "target"), [
    (None, "png", None), ("image/*", "png", None), ("image/png", "png", None), ("image/webp", "png", "webp"),
    ("image/gif, image/jpeg;q=0.3, image/avif;q=0.5", "png", "avif"), ("image/webp;q=0, image/png", "webp", "png"),
])  # fmt: skip
def test_an_image_is_converted_only_if_its_format_is_not_accepted(accept, current, target):
    assert format_to_convert_to(accept, current) == target


def test_the_output_format_is_the_requested_one_or_the_accepted_one():
    assert output_format("image/*", "png", None) is None
    assert output_format("image/webp", "png", None) == "webp"
    assert output_format("image/webp", "png", "webp") == "webp"
    with pytest.raises(NotAcceptable, match="contradict"):
        output_format("image/webp", "png", "jpeg")


def test_accepted_types_are_ordered_by_quality():
    assert accepted_types("a/a;q=0.2, b/b, c/c;q=0.9, d/d;q=0") == ["b/b", "c/c", "a/a"]
