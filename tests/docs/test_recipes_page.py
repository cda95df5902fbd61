"""docs/recipes.md shows the programs of examples/recipes as they are, all of them."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text()
UPDATED = runpy.run_path(str(ROOT / "docs" / "make_recipes.py"))["updated"]


def test_the_programs_are_those_of_the_files():
    assert UPDATED(PAGE) == PAGE, "run `make api-page`"


def test_another_line_in_a_program_is_noticed():
    assert UPDATED(PAGE.replace("const TRIES = 5;", "const TRIES = 6;")) == PAGE


def test_every_program_is_on_the_page():
    shown = re.findall(r"^<!-- program: \.\./examples/recipes/(\S+) -->$", PAGE, re.MULTILINE)
    assert sorted(shown) == sorted(path.name for path in (ROOT / "examples" / "recipes").iterdir())


def test_the_programs_need_no_path_of_ours_and_are_short():
    for path in (ROOT / "examples" / "recipes").iterdir():
        lines = path.read_text().splitlines()
        assert len(lines) <= 120 and max(map(len, lines)) <= 120, path.name
