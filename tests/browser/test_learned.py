"""A degradation that only this bundle knows: its word is on the page like any other, in every language."""

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORD = "dusty"


@pytest.fixture(scope="module")
def taught(start, tmp_path_factory):
    """The shipped bundle with another word for snow, which no dictionary of the page has."""
    folder = tmp_path_factory.mktemp("bundle") / "taught"
    shutil.copytree(ROOT / "models" / "bundles" / "autodir-small", folder)
    manifest = json.loads((folder / "bundle.json").read_text().replace('"snow"', f'"{WORD}"'))
    (folder / "bundle.json").write_text(json.dumps({**manifest, "name": "taught", "golden": None}))
    return start(UNDEGRADE_BUNDLE=str(folder))


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_word_is_listed_suggested_and_repaired(browse, taught, photo, language):
    page = browse(taught.url)
    page.evaluate("(tag) => localStorage.setItem('undegrade.language', tag)", language)
    page.reload()
    page.set_input_files("#file", photo("noisy.png"))
    page.wait_for_selector("#others")
    page.click("#others summary")
    assert WORD in page.inner_text("#others").lower()
    page.click("#describe summary")
    page.click(f"[data-key=suggest-{WORD}]")
    assert page.input_value("#prompt") == f"remove the {WORD}"
    page.fill("#prompt", "")
    page.uncheck("#repair-noise")
    page.check(f"#repair-{WORD}")
    page.click("#restore")
    page.wait_for_selector("#download")
    job = taught.newest()
    assert job["params"]["only"] == [WORD] and job["status"] == "succeeded"
    assert WORD in page.inner_text("#result").lower()
