"""What a person sees when something goes wrong: refusals, keys, a lost connection, a dead worker, a cancel."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shown(page, file):
    page.set_input_files("#file", file)
    page.wait_for_selector(".bar-row")


def test_a_damaged_file_is_told_with_a_hint_and_the_request(browse, served, tmp_path):
    page = browse(served.url, quiet=False)
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 this is no photo")
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#action .notice.error")
    box = page.locator("#action .notice.error")
    code = box.get_attribute("data-code")
    assert code in ("not-an-image", "unsupported-format", "bad-image")
    assert len(box.locator(".request-id code").inner_text()) >= 16
    assert box.locator("p").count() >= 2
    assert page.locator("#alert").inner_text().startswith("That did not work.")


@pytest.mark.parametrize(
    ("name", "data", "words"), [("notes.txt", b"hello", "not a photo"), ("empty.png", b"", "empty")]
)
def test_what_is_no_photo_is_not_sent(browse, served, tmp_path, name, data, words):
    page = browse(served.url)
    (tmp_path / name).write_bytes(data)
    page.set_input_files("#file", str(tmp_path / name))
    assert words in page.inner_text("#notices .notice.error")
    assert page.locator("#welcome").is_visible()


def test_a_lost_connection_is_told_and_the_job_continues(browse, served, proxy, photo):
    page = browse(f"http://127.0.0.1:{proxy.port}/", quiet=False)
    shown(page, photo("noisy.png"))
    with served.frozen():
        page.click("#restore")
        page.wait_for_selector("[data-state=queued], [data-state=running]")
        proxy.cut()
        page.wait_for_selector("#lost")
        proxy.mend()
        page.wait_for_selector("#lost", state="detached")
    page.wait_for_selector("#download")
    assert page.locator(".notice.error").count() == 0
    assert served.newest()["attempts"] == 1


def test_a_server_that_is_away_is_told_and_can_be_asked_again(browse, served, proxy, photo):
    page = browse(f"http://127.0.0.1:{proxy.port}/", quiet=False)
    proxy.cut()
    page.set_input_files("#file", photo("noisy.png"))
    page.wait_for_selector("#action [data-code=no-answer]")
    proxy.mend()
    page.click("#again")
    page.wait_for_selector(".bar-row")


def test_a_stream_that_does_not_get_through_is_replaced_by_polling(browse, served, photo):
    page = browse(served.url, quiet=False)
    page.route("**/events", lambda route: route.fulfill(status=502, body="<html>a proxy's own page</html>"))
    shown(page, photo("noisy.png"))
    page.click("#restore")
    page.wait_for_selector("#download")


def test_a_killed_worker_costs_time_only(browse, served, photo):
    page = browse(served.url, quiet=False)  # /readyz may answer 503
    shown(page, photo("noisy.png"))
    with served.frozen():
        page.click("#restore")
        page.wait_for_selector("[data-state=running], [data-state=queued]")
        page.wait_for_timeout(1000)
        worker = served.worker()
        for process in [*worker.children(recursive=True), worker]:
            process.kill()
    page.wait_for_selector("#download")
    assert served.newest()["status"] == "succeeded"


def test_a_job_can_be_canceled_and_restored_again(browse, served, photo):
    page = browse(served.url)
    shown(page, photo("noisy.png"))
    with served.frozen():
        page.click("#restore")
        page.wait_for_selector("[data-state=queued], [data-state=running]")
        page.click("#cancel")
        page.wait_for_selector("#restore")
        assert "Canceled." in page.inner_text("#action")
    for _ in range(200):
        if served.newest()["status"] == "canceled":
            break
        page.wait_for_timeout(100)
    assert served.newest()["status"] == "canceled"
    page.click("#restore")
    page.wait_for_selector("#download")


def test_a_job_of_an_earlier_visit_is_found_in_the_history(browse, served, photo):
    page = browse(served.url)
    shown(page, photo("noisy.png"))
    with served.frozen():
        page.click("#restore")
        page.wait_for_selector("[data-state=queued], [data-state=running]")
        page.wait_for_timeout(500)
        page.reload()
        page.wait_for_selector("#limits:not(:empty)")
    page.click("#open-history")
    page.click(".entry")
    page.wait_for_selector("#download")


def test_a_key_is_asked_for_once_and_kept_in_the_session_only(browse, start, photo):
    served = start()
    command = [sys.executable, "-m", "cli", "keys", "create", "browser"]
    folder = Path(served.env["XDG_STATE_HOME"]) / "undegrade" / f"serve-{served.port}"
    made = subprocess.run([*command, "--data", str(folder)], env=served.env, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    secret = next(word for word in made.stdout.split() if word.startswith("ug_") or len(word) > 30)
    page = browse(served.url, quiet=False)
    page.wait_for_timeout(1500)  # "no keys exist" is remembered for a second
    page.reload()
    page.wait_for_selector("#key-dialog[open]")
    page.fill("#key-field", "wrong")
    page.click("#key-save")
    page.wait_for_selector("#key-dialog[open] .warning")
    page.fill("#key-field", secret)
    page.click("#key-save")
    page.wait_for_selector("#limits:not(:empty)")
    shown(page, photo("noisy.png"))
    page.click("#restore")
    page.wait_for_selector("#download")
    page.click("#open-code")
    assert secret not in page.inner_text("#code-dialog") and "$UNDEGRADE_API_KEY" in page.inner_text("#code-curl")
    page.click("#code-close")
    page.reload()
    page.wait_for_selector("#limits:not(:empty)")
    assert page.evaluate("Object.values(sessionStorage)") == [secret]
    assert secret not in page.evaluate("JSON.stringify({...localStorage}) + document.cookie")
    other = browse(served.url, quiet=False)
    assert other.locator("#key-dialog").is_visible()


@pytest.mark.parametrize("path", ["", "/"], ids=["without a slash", "with a slash"])
def test_the_page_works_under_the_path_of_a_proxy(browse, start, photo, path):
    served = under_a_path(start)
    page = browse(f"{served.url}ai{path}")
    assert page.url == f"{served.url}ai/"
    shown(page, photo("noisy.png"))
    page.click("#restore")
    page.wait_for_selector("#download")
    page.click("#open-code")
    assert f"{served.url}ai/restore" in page.inner_text("#code-curl")


STARTED = {}


def under_a_path(start):
    """One service under /ai for both tests."""
    if "ai" not in STARTED:
        STARTED["ai"] = start(UNDEGRADE_ROOT_PATH="/ai")
    return STARTED["ai"]
