"""The page in a real browser, against `undegrade serve` with a real worker: `make page-test` installs what it needs."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from cut_proxy import CutProxy
from PIL import Image

ROOT = Path(__file__).parents[2]
AXE = ROOT / ".page-test" / "package" / "axe.min.js"
READY_S = 300
LONG_MS = 180_000
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZES = {"phone": {"width": 360, "height": 740}, "desktop": {"width": 1440, "height": 900}}
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
    console.error("CSP", event.violatedDirective, event.blockedURI);
});
"""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


class Served:
    """`undegrade serve` as a process."""

    def __init__(self, folder, env=None):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = folder / "serve.log"
        self.env = {
            **os.environ, "XDG_STATE_HOME": str(folder), "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1",
            "PYTHONPATH": str(ROOT), **(env or {}),
        }  # fmt: skip
        with self.log.open("wb") as output:
            command = [sys.executable, "-m", "cli", "serve", "--port", str(self.port), "--device", "cpu"]
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=self.env, cwd=ROOT)
        until_s = time.monotonic() + READY_S
        while "Restore a photo with" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < until_s, self.log.read_text()
            time.sleep(0.1)

    def worker(self):
        """The worker: the child of `serve` that has children of its own and runs our code."""
        children = psutil.Process(self.process.pid).children()
        return max(children, key=lambda child: sum(entry.memory_info().rss for entry in child.children(recursive=True)))

    def engine(self):
        """The process with the models."""
        return max(self.worker().children(recursive=True), key=lambda child: child.memory_info().rss)

    @contextlib.contextmanager
    def frozen(self):
        """Stops the engine, so that a job that has begun stays as it is."""
        engine = self.engine()
        engine.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                engine.send_signal(signal.SIGCONT)

    def get(self, path):
        return httpx.get(self.url + path, timeout=30)

    def newest(self):
        """The newest job that restores."""
        return next(job for job in self.get("jobs?limit=20").json()["jobs"] if job["kind"] == "restore")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Starts services; takes environment variables."""
    running = []

    def begin(**env):
        running.append(Served(tmp_path_factory.mktemp("serve"), env))
        return running[-1]

    yield begin
    for served in running:
        served.end()


@pytest.fixture(scope="session")
def served(start):
    """The service that most tests share."""
    return start()


@pytest.fixture(scope="session")
def chromium():
    """The browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make page-test")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed: make page-test installs it (root on Debian), or set CHROMIUM")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium):
    """Opens a page in a browser of its own; at the end, nothing may have been reported to its console.

    `quiet=False`: errors of the network are expected; the page's policy may not be violated all the same.
    """
    opened, reports = [], []

    def begin(url, size="desktop", scheme="light", quiet=True, **options):
        viewport = SIZES[size] if isinstance(size, str) else size
        context = chromium.new_context(
            viewport=viewport, color_scheme=scheme, locale="en-US", accept_downloads=True, **options
        )
        context.set_default_timeout(LONG_MS)
        opened.append(context)
        page = context.new_page()
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("pageerror", lambda error: reports.append(str(error)))

        def on_console(message):
            if message.type == "error" and (quiet or message.text.startswith("CSP")):
                reports.append(message.text)

        page.on("console", on_console)
        page.goto(url)
        page.wait_for_selector("#limits:not(:empty), [data-start], dialog[open]")
        return page

    yield begin
    for context in opened:
        context.close()
    assert reports == []


@pytest.fixture(scope="session")
def until():
    """Waits until an expression is true on a page; the page's policy forbids the eval of `wait_for_function`."""

    def wait(page, expression, argument=None):
        until_s = time.monotonic() + LONG_MS / 1000
        while not page.evaluate(expression, argument):
            assert time.monotonic() < until_s, f"never true: {expression}"
            page.wait_for_timeout(50)

    return wait


@pytest.fixture
def proxy(served):
    """A proxy before the service, which can be cut."""
    made = CutProxy(served.port)
    yield made
    made.cut()


@pytest.fixture(scope="session")
def axe():
    """Checks a page with axe-core; returns what it found, one line each."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make page-test")
    source = AXE.read_text()

    def check(page):
        page.evaluate(source)
        found = page.evaluate("(tags) => axe.run(document, {runOnly: tags})", TAGS)["violations"]
        return [
            f"{entry['id']}: {node['target']} {node['failureSummary']}" for entry in found for node in entry["nodes"]
        ]

    return check


@pytest.fixture
def photo(tmp_path):
    """Writes a part of an example photo into a file: photo("cat.png", "examples/cat-noisy.jpg")."""

    def write(name, source="examples/raccoon-noisy.jpg", box=(100, 60, 228, 156), **options):
        with Image.open(ROOT / source) as image:
            image.convert("RGB").crop(box).save(tmp_path / name, **options)
        return str(tmp_path / name)

    return write
