"""The Lua scripts share the names of jobs.redis_keys, and spell no Redis key and no argument position themselves."""

import re

import pytest

from jobs import redis_keys
from jobs.lua_scripts import FOLDER, PRELUDE

SCRIPTS = sorted(FOLDER.glob("*.lua"))


def code_of(path):
    return re.sub(r"--.*", "", path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_spells_no_redis_key(path):
    assert not re.search(r"'(undegrade|rq):", code_of(path))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_uses_names_that_redis_keys_defines(path):
    for kind, name in re.findall(r"\b(KEY|LIMIT)\.(\w+)", code_of(path)):
        constant = getattr(redis_keys, name.upper())
        assert isinstance(constant, str if kind == "KEY" else int)


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.stem != PRELUDE], ids=lambda path: path.stem)
def test_a_script_reads_its_arguments_by_name(path):
    assert "ARGV" not in code_of(path)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_lists_the_arguments_that_it_reads(path):
    comments = " ".join(re.findall(r"--(.*)", path.read_text()))
    for name in re.findall(r"\bargs\.(\w+)", code_of(path)):
        assert re.search(rf"\b{name}\b", comments), f"{name} is not in the comment at the top of {path.name}"
