"""Prefer (RFC 7240) and Accept (RFC 9110)."""

import pytest

from service.negotiation import accepted, format_to_convert_to, output_format, prefers_image, wait_preference
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
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", True),
    ("image/*;q=0.5, application/json", False), ("image/*;q=0, */*", False), ("application/json;q=0, */*", True),
    ("image/png;q=0.1, image/*;q=0.9, application/json;q=0.5", True), ("*/*;q=0.1, application/json;q=0.05", True),
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
def test_an_image_is_converted_if_another_format_is_liked_better(accept, current, target):
    assert format_to_convert_to(accept, current) == target


def test_the_output_format_is_the_requested_one_or_the_accepted_one():
    assert output_format("image/*", "png", None) is None
    assert output_format("image/webp", "png", None) == "webp"
    assert output_format("image/webp", "png", "webp") == "webp"
    with pytest.raises(NotAcceptable, match="contradict"):
        output_format("image/webp", "png", "jpeg")


@pytest.mark.parametrize(("accept", "media_type", "weight"), [
    # The example of RFC 9110, 12.5.1, without the range with a parameter
    *(("text/*;q=0.3, text/plain;q=0.7, */*;q=0.5", name, weight)
      for name, weight in [("text/plain", 0.7), ("text/html", 0.3), ("image/jpeg", 0.5)]),
    ("image/*, image/png;q=0", "image/png", 0), ("image/*, image/png;q=0", "image/webp", 1), ("", "a/b", 1),
    ("IMAGE/PNG; Q=0.25", "image/png", 0.25), ("image/png;level=1", "image/png", 0), ("image/png;q=7", "image/png", 1),
])  # fmt: skip
def test_the_most_specific_range_gives_the_weight(accept, media_type, weight):
    assert accepted(accept).weight(media_type) == weight


def test_a_better_liked_format_is_returned():
    assert format_to_convert_to("image/webp, */*;q=0.8", "png") == "webp"
    assert format_to_convert_to("image/png;q=0.2, image/*;q=0.9", "png") in ("jpeg", "webp", "tiff", "avif")
    with pytest.raises(NotAcceptable):
        format_to_convert_to("image/png;q=0", "png")
