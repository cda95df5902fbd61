"""Take the pictures of docs/page.md and the README: the page with a result (`make page-figures`).

It starts `undegrade serve` with a real worker, and needs Chromium and playwright (`make page-test` installs them).
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FIGURES = Path(__file__).parent
ROOT = FIGURES.parents[1]
PORT = 8733
SHOTS = {
    "page-desktop": ({"width": 1280, "height": 800}, "light", "noise"),
    "page-phone": ({"width": 360, "height": 740}, "dark", "haze"),
}
"""By the name of the file: the size, the colors, and the sample that is restored."""
FLAGS = ["--no-sandbox", "--disable-gpu"]


def shoot(browser: Browser, name: str) -> None:
    """Restore a sample and save a picture of the page."""
    viewport, scheme, sample = SHOTS[name]
    context = browser.new_context(viewport=viewport, color_scheme=scheme, locale="en-US")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{PORT}/")
    page.click(f"[data-key={sample}]")
    page.wait_for_selector(".bar-row")
    page.click("#restore")
    page.wait_for_selector("#download", timeout=120_000)
    page.mouse.move(5, 5)
    page.wait_for_timeout(1500)
    page.evaluate("scrollTo(0, 0)")
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").save(FIGURES / f"{name}.webp", quality=80, method=6)
    context.close()


def main() -> None:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        sys.exit("chromium is not installed; `make page-test` installs it on Debian, or set CHROMIUM")
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "XDG_STATE_HOME": folder, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "cli", "serve", "--port", str(PORT), "--device", "cpu"]
        served = subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert served.stderr is not None
        try:
            for line in served.stderr:
                if "Restore a photo with" in line:
                    break
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
                for name in SHOTS:
                    shoot(browser, name)
                browser.close()
        finally:
            served.terminate()
            served.communicate(timeout=60)


if __name__ == "__main__":
    main()
