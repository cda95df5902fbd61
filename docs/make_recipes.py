"""Write the programs of examples/recipes into docs/recipes.md (`make api-page`).

Example: python docs/make_recipes.py
"""

import re
from pathlib import Path

PAGE = Path(__file__).with_name("recipes.md")
BLOCK = re.compile(r"(<!-- program: (\S+) -->\n```\w+\n).*?(^```$)", re.MULTILINE | re.DOTALL)
"""A fenced block below a comment that names its file, from the folder of the page."""


def updated(page: str) -> str:
    """Returns the page with the programs as their files are."""
    return BLOCK.sub(lambda found: f"{found[1]}{(PAGE.parent / found[2]).read_text()}{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
