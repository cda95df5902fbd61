"""Nothing that a name holds steers a terminal, forges a line or is taken for markup."""

import json
import logging
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.console import visible
from jobs.json_log import JsonFormatter, json_text

BAD = ["\x1b[31mred", "\x9b31m", "\r", "\n", "\x07", "\x7f", "‮gpj", "⁦", "\u2028", "\udcff\udcfe", "\x08", "\U000e0041"]
MARKUP = ["[red]x", "[/]", "[/red]", ":smile:", "\\[x]", "[link=x]"]


def steering(text):
    return [hex(ord(c)) for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "‌‍"]


@given(st.text(st.characters(codec=None)))
def test_visible_text_holds_no_character_that_steers(text):
    shown = visible(text)
    assert steering(shown) == []
    shown.encode()
    if not steering(text):
        assert shown == text


@given(st.text(st.characters(codec=None)))
def test_json_and_log_are_printable_ascii_and_keep_the_text(text):
    row = json_text({"input": text})
    assert row.isascii()
    assert row.isprintable()
    assert json.loads(row) == {"input": text}
    record = logging.LogRecord("uvicorn", logging.ERROR, "", 0, "%s", (text,), None)
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["event"] == text


def check(result, lines=None):
    for text in (result.err, result.out.decode()):
        assert [c for c in steering(text) if c != "0xa"] == []
    assert "bug" not in result.err
    assert "Traceback" not in result.err


def test_a_name_reaches_the_terminal_as_text(with_bundle, photo):
    names = []
    for number, bad in enumerate([*BAD, *MARKUP]):
        name = f"a{number}{bad.replace('/', '')}.png"
        photo("in.png").rename(name)
        Path("broken" + name).write_bytes(b"\x89PNG\r\n\x1a\n")
        names += [name, "broken" + name, "gone" + name, f"gone{bad}"]
    for command in (["restore", *names, "--strength", 0, "--json"], ["detect", *names], ["compare", *names[4:6]]):
        result = with_bundle(*command)
        check(result)
        assert result.code == 1
        assert all(f"gone{bad}" in result.err for bad in MARKUP) or command[0] == "compare"
        starts = (
            "error: ",
            "warning: ",
            "autodir-small on",
            "18 restored, 0 skipped, 54 failed",
            *(f"a{number}" for number in range(30)),
        )
        assert [line for line in result.err.splitlines() if not line.startswith(starts)] == []


@pytest.mark.parametrize(
    "words",
    [
        ["restore", "x.png", "--only"], ["restore", "x.png", "--format"], ["restore", "x.png", "-o"], ["--bogus"],
        ["restore", "x.png", "--bundle"], ["detect", "x.png", "--device"], ["restore", "x.png", "--seed"], [],
        ["models", "show"], ["worker", "--lanes"], ["compare", "x.png"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_word_of_the_command_is_repeated_as_text(with_bundle, photo, words):
    bad = "".join(BAD) + "".join(MARKUP)
    if not Path("x.png").exists():
        shutil.move(photo("in.png"), "x.png")
    result = with_bundle(*words[:-1], words[-1] + bad) if words == ["--bogus"] else with_bundle(*words, bad)
    check(result)
    assert result.code != 0 or words[-1] == "-o"  # a folder may have any name
