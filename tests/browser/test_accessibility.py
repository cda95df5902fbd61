"""axe-core finds nothing (WCAG 2.2 AA) in each state of the page, light and dark, on a phone and on a desktop."""

import pytest

STATES = (
    "empty", "found", "part", "part restored", "running", "result", "side by side", "code", "history", "key", "several",
    "error",
)  # fmt: skip
HOW = [("light", "phone"), ("dark", "phone"), ("light", "desktop"), ("dark", "desktop")]


@pytest.mark.parametrize(("scheme", "size"), HOW, ids=[" ".join(pair) for pair in HOW])
def test_axe_finds_nothing_in_any_state(browse, served, axe, photo, tmp_path, scheme, size):
    page = browse(served.url, size, scheme, quiet=False)
    found = {"empty": axe(page)}
    page.set_input_files("#file", photo("noisy.png"))
    page.wait_for_selector(".bar-row")
    for part in ("#describe summary", "#more summary", "#others summary"):
        page.click(part)
    found["found"] = axe(page)
    page.click("#choose-part")
    found["part"] = axe(page)
    page.click("#restore-part")
    page.wait_for_selector("#download")
    found["part restored"] = axe(page)
    with served.frozen():
        page.click("#restore")
        page.wait_for_selector("[data-state=queued], [data-state=running]")
        found["running"] = axe(page)
    page.wait_for_selector("#download")
    found["result"] = axe(page)
    page.click("label:has(#mode-side)")
    found["side by side"] = axe(page)
    for name in ("code", "history", "key"):
        page.click(f"#open-{name}")
        page.wait_for_selector(f"#{name}-dialog[open]")
        found[name] = axe(page)
        page.keyboard.press("Escape")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 this is no photo")
    page.set_input_files("#file", [photo("other.png"), str(broken)])
    page.wait_for_selector(".thumb")
    found["several"] = axe(page)
    page.click(".thumb >> nth=2")
    page.wait_for_selector("#action .notice.error")
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"})
    page.wait_for_selector("#notices .notice")
    found["error"] = axe(page)
    assert {state: lines for state, lines in found.items() if lines} == {}
    assert tuple(found) == STATES


def test_axe_finds_what_is_wrong(browse, served, axe):
    page = browse(served.url)
    page.evaluate("document.getElementById('choose').textContent = ''")
    assert any(line.startswith("button-name") for line in axe(page))


def test_nothing_moves_for_those_who_ask_for_less_motion(browse, served):
    page = browse(served.url, reduced_motion="reduce")
    durations = "[...document.querySelectorAll('*')].map((element) => getComputedStyle(element).transitionDuration)"
    assert set(page.evaluate(durations)) == {"0s"}
    moving = browse(served.url)
    assert set(moving.evaluate(durations)) != {"0s"}


def test_targets_are_large_enough_for_a_finger(browse, served, photo):
    page = browse(served.url, "phone")
    page.set_input_files("#file", photo("noisy.png"))
    page.wait_for_selector(".bar-row")
    page.click("#restore")
    page.wait_for_selector("#download")
    small = page.evaluate("""() => [...document.querySelectorAll("button, a, select, summary, input[type=range]")]
        .filter((element) => element.offsetParent && !element.classList.contains("skip"))
        .map((element) => [element.outerHTML.slice(0, 80), element.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 24 || height < 24)""")
    assert small == []
