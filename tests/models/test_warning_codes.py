"""The codes of warnings: one table, in the program and in the docs, and every code in use."""

import pickle
import re
from pathlib import Path

import pytest

from models.warning_codes import CODES, CodedWarning, coded, codes_of

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_table_of_codes():
    section = (ROOT / "docs" / "api.md").read_text().partition("\n## Warnings\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == set(CODES)


def test_every_code_is_in_use():
    source = "\n".join(
        path.read_text() for room in ("models", "worker", "cli") for path in (ROOT / room).rglob("*.py")
        if path.name != "warning_codes.py"
    )  # fmt: skip
    here = (ROOT / "models" / "warning_codes.py").read_text().partition("class CodedWarning")[2]
    assert {code for code in CODES if f'"{code}"' not in source + here} == set()


def test_an_unknown_code_is_a_bug():
    with pytest.raises(KeyError):
        CodedWarning("a sentence", "no-such-code")


def test_a_warning_is_its_sentence_and_keeps_its_code_between_processes():
    warning = CodedWarning("letters were redrawn", "redrawn-text")
    returned = pickle.loads(pickle.dumps(warning))
    assert (returned, returned.code) == ("letters were redrawn", "redrawn-text")
    assert warning.about("a.png") == "a.png: letters were redrawn" and warning.about("a.png").code == "redrawn-text"


def test_plain_sentences_get_a_code_and_others_keep_theirs():
    warnings = coded(["plain", CodedWarning("x", "lost-alpha")], "lost-metadata")
    assert codes_of(warnings) == ("lost-metadata", "lost-alpha")
    assert codes_of(["plain"]) == ("other",)
