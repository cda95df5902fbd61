"""The types in the comments of the page's modules are checked by the TypeScript compiler."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = ROOT / ".page-test" / "node_modules" / "typescript" / "bin" / "tsc"
OPTIONS = (
    "--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2024", "--module", "esnext",
    "--moduleResolution", "bundler", "--lib", "es2024,dom,dom.iterable,dom.asynciterable",
)  # fmt: skip


@pytest.fixture(scope="module")
def checked():
    """Checks a module and all that it imports; returns what the compiler reports."""
    if not (node := shutil.which("node")) or not COMPILER.exists():
        pytest.skip("node or typescript is not installed: make page-test")

    def check(path):
        done = subprocess.run([node, COMPILER, *OPTIONS, path], capture_output=True, text=True, timeout=300)
        return done.stdout.splitlines()

    return check


def test_the_modules_of_the_page_have_the_types_that_they_state(checked):
    assert checked(ROOT / "web" / "app.js") == []


def test_a_wrong_type_is_reported(checked, tmp_path):
    (tmp_path / "wrong.js").write_text("// @ts-check\n/** @param {number} x */\nexport const f = (x) => x.length;\n")
    assert any("'length' does not exist" in line for line in checked(tmp_path / "wrong.js"))


def test_every_module_is_checked():
    scripts = sorted((ROOT / "web").glob("*.js"))
    assert scripts and [path.name for path in scripts if not path.read_text().startswith("// @ts-check\n")] == []
