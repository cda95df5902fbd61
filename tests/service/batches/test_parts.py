"""Reading a form part by part, against bodies that httpx has encoded."""

import random

import httpx
import pytest

from service.batches.parts import MAX_TEXT_BYTES, PartReader
from service.refusals import InvalidRequest

CONTENTS = {"a.jpg": b"one", "ü €.png": b"\r\n--x", "empty": b"", "b": b"\0" * 9000}
FILES = [("image", file) for file in CONTENTS.items()]


def encoded(files, fields=()):
    request = httpx.Request("POST", "http://x", files=files, data=dict(fields))
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    return request.read(), boundary


def read(body, boundary, chunks, max_bytes=10_000):
    reader, found = PartReader(boundary, max_bytes), []
    at = 0
    for size in chunks:
        found += reader.feed(body[at : at + size])
        at += size
    found += reader.feed(body[at:])
    reader.finish()
    return found


@pytest.mark.parametrize("seed", range(12))
def test_parts_are_those_that_were_sent_however_the_body_is_cut(seed):
    body, boundary = encoded(FILES, {"only": "noise", "labels": "a=b"})
    chance = random.Random(seed)
    found = read(body, boundary, [chance.choice([1, 2, 7, 100, 4000]) for _ in range(chance.randint(1, 400))])
    assert [(part.name, bytes(part.data)) for part in found if part.file_name is None] == [
        ("only", b"noise"), ("labels", b"a=b"),
    ]  # fmt: skip
    assert [(part.file_name, bytes(part.data)) for part in found if part.name == "image"] == list(CONTENTS.items())


def test_a_part_over_the_limit_is_left_out_of_memory_and_the_others_are_read():
    body, boundary = encoded([("image", ("big", b"x" * 5000)), ("image", ("small", b"y" * 100))])
    big, small = read(body, boundary, [100] * 20, max_bytes=1000)
    assert big.over and big.size == 5000 and not big.data
    assert not small.over and bytes(small.data) == b"y" * 100


def test_a_long_text_is_over_the_limit():
    body, boundary = encoded([("image", ("a", b"x"))], {"prompt": "x" * (MAX_TEXT_BYTES + 1)})
    assert [part.over for part in read(body, boundary, [])] == [True, False]


@pytest.mark.parametrize("cut", [0, 1, 30, 80, -4, -20])
def test_a_body_that_ends_early_or_is_no_form_is_refused(cut):
    body, boundary = encoded([("image", ("a", b"x" * 50))])
    with pytest.raises(InvalidRequest, match="damaged"):
        read(body[:cut], boundary, [])
    with pytest.raises(InvalidRequest, match="damaged"):
        read(b"hello " + body, boundary, [])
