"""docs/logs.md lists every event of the log with its level and fields, and no other."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from worker.engine_stages import ASSESS, FINISH, STEPS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "logs.md").read_text()
ROOMS = ("cli", "jobs", "models", "processes", "service", "worker")


def logged() -> dict[str, tuple[set[str], set[str]]]:
    """The events that the code logs: levels and fields, over all places that log it."""
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            function, arguments = call.func, call.args
            if getattr(function, "id", "") == "partial" and arguments:
                function, *arguments = arguments
            if not (isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "log"):
                continue
            if arguments and isinstance(arguments[0], ast.Constant):
                levels, fields = found[arguments[0].value]
                crashed = function.attr == "exception"
                levels.add("error" if crashed else function.attr)
                named = {keyword.arg for keyword in call.keywords if keyword.arg}  # `**details` has no name
                fields |= named | ({"exception"} if crashed else set())
    return dict(found)


def documented() -> dict[str, tuple[set[str], set[str]]]:
    rows = re.findall(r"^\| `([a-z.-]+)` \| ([a-z, ]+) \| ([^|]*) \|", PAGE.partition("\n## Events\n")[2], re.MULTILINE)
    return {event: (set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields))) for event, levels, fields in rows}


LOGGED, DOCUMENTED = logged(), documented()


@pytest.mark.parametrize("event", sorted(LOGGED | DOCUMENTED))
def test_an_event_is_documented_with_its_level_and_fields(event):
    assert LOGGED.get(event) == DOCUMENTED.get(event)


def test_an_event_is_a_noun_and_a_verb():
    assert not [event for event in LOGGED if not re.fullmatch(r"[a-z]+\.[a-z]+(-[a-z]+)*", event)]


def test_the_stages_of_a_job_are_documented():
    stages = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("\n## Stages\n")[2].partition("\n## ")[0], re.MULTILINE))
    source = "".join((ROOT / "worker" / name).read_text() for name in ("job_run.py", "job_pictures.py"))
    timed = set(
        re.findall(r'(?:_timed\(\s*|seconds\[|seconds: dict\[str, float\] = \{|_add_seconds\(\{)"(\w+)"', source)
    )
    assert {"decode", "encode"} < timed
    assert stages == timed | {ASSESS, STEPS, FINISH}
