"""A part of a photo first, several results to choose from, and what older workers refuse."""

import io
import subprocess
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

FIELDS = ("x", "y", "width", "height")


def found(page, file):
    page.set_input_files("#file", file)
    page.wait_for_selector(".bar-row")


def chosen(page):
    return [int(page.input_value(f"#part-{name}")) for name in FIELDS]


def download(page, button="#download"):
    with page.expect_download() as got:
        page.click(button)
    return Path(got.value.path()).read_bytes(), got.value.suggested_filename


def only_blur(page):
    """The repair of blur draws noise; those of noise and rain do not."""
    page.wait_for_selector("#others")
    page.click("#others summary")
    page.check("#repair-blur")
    page.uncheck("#repair-noise")


def place(page, x, y):
    """Where a pixel of the photo is on the screen, once the photo stands still: what appears above it moves it."""
    return page.evaluate(
        """async ([x, y]) => {
        const image = document.querySelector("#stage img");
        let box = image.getBoundingClientRect(), same = 0;
        while (same < 5) {
            await new Promise(requestAnimationFrame);
            const now = image.getBoundingClientRect();
            same = now.x === box.x && now.y === box.y && now.width === box.width ? same + 1 : 0;
            box = now;
        }
        const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
        return [box.x + box.width / 2 + (x - image.naturalWidth / 2) * scale,
                box.y + box.height / 2 + (y - image.naturalHeight / 2) * scale];
    }""",
        [x, y],
    )


def drag(page, start, end):
    page.mouse.move(*place(page, *start))
    page.mouse.down()
    page.mouse.move(*place(page, *end), steps=4)
    page.mouse.up()


def near(got, expected):
    return all(abs(one - other) <= 1 for one, other in zip(got, expected, strict=True))


def test_a_part_is_drawn_restored_and_compared_then_the_whole_photo(browse, served, photo):
    page = browse(served.url)
    file = photo("noisy.png")
    found(page, file)
    page.click("#choose-part")
    drag(page, (2, 3), (66, 43))
    assert near(chosen(page), (2, 3, 64, 40))
    part = chosen(page)
    page.click("#restore-part")
    page.wait_for_selector("#download")
    assert served.newest()["params"]["crop"] == part
    data, name = download(page)
    assert name == "noisy-part-restored.png" and Image.open(io.BytesIO(data)).size == (64, 40)
    before = page.evaluate("""async () => {
        const image = document.querySelector(".clip img"), canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        canvas.getContext("2d").drawImage(image, 0, 0);
        return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
    }""")
    x, y, width, height = part
    with Image.open(file) as image:
        expected = np.asarray(image.convert("RGBA").crop((x, y, x + width, y + height)))
    assert np.array_equal(np.array(before, np.uint8).reshape(expected.shape), expected)
    seed = served.newest()["params"]["seed"]
    page.click("#restore")
    page.wait_for_selector("#result-title:text-is('Restored')")
    whole = served.newest()["params"]
    assert (whole["crop"], whole["seed"]) == (None, seed)
    assert Image.open(io.BytesIO(download(page)[0])).size == (128, 96)


def test_a_part_is_moved_and_resized_and_stays_inside(browse, served, photo):
    page = browse(served.url)
    found(page, photo("noisy.png"))
    page.click("#choose-part")
    drag(page, (10, 10), (60, 50))
    drag(page, (35, 30), (55, 40))  # from within: it moves
    assert near(chosen(page), (30, 20, 50, 40))
    drag(page, (80, 60), (100, 90))  # a corner
    assert near(chosen(page), (30, 20, 70, 70))
    drag(page, (60, 60), (500, 500))
    assert chosen(page) == [128 - 70, 96 - 70, *chosen(page)[2:]]
    page.mouse.click(*place(page, 5, 5))  # it goes there
    assert near(chosen(page), (0, 0, 70, 70))
    page.fill("#part-width", "9999")
    page.keyboard.press("Tab")
    assert chosen(page)[0] == 0 and page.input_value("#part-width") == "128"


def test_a_part_is_chosen_with_the_keyboard_alone(browse, served, photo):
    page = browse(served.url)
    found(page, photo("noisy.png"))
    page.focus("#choose-part")
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "part":
            break
    assert chosen(page) == [32, 24, 64, 48]
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    assert chosen(page) == [26, 27, 67, 48]
    assert page.inner_text("#status") == "67 by 48 pixels, at 26, 27"
    page.keyboard.press("Escape")
    page.wait_for_selector("#part", state="hidden")
    page.wait_for_function("document.activeElement.id === 'choose-part'")
    page.keyboard.press("Enter")
    page.focus("#part")
    page.keyboard.press("Enter")
    page.wait_for_selector("#download")
    assert served.newest()["params"]["crop"] == [26, 27, 67, 48]


def test_a_part_is_drawn_by_touch_and_the_page_does_not_scroll(browse, served, photo):
    page = browse(served.url, "phone", has_touch=True)
    found(page, photo("noisy.png"))
    page.click("#choose-part")
    page.evaluate("document.getElementById('stage').scrollIntoView()")
    start, end = place(page, 4, 4), place(page, 90, 70)
    session = page.context.new_cdp_session(page)
    top = page.evaluate("scrollY")
    for kind, spot in (("touchStart", start), ("touchMove", [sum(pair) / 2 for pair in zip(start, end, strict=True)])):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": spot[0], "y": spot[1]}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": end[0], "y": end[1]}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert near(chosen(page), (4, 4, 86, 66))
    assert page.evaluate("scrollY") == top


def test_a_part_comes_back_from_the_history(browse, served, photo, until):
    page = browse(served.url)
    found(page, photo("noisy.png"))
    page.click("#choose-part")
    page.click("#restore-part")
    page.wait_for_selector("#download")
    page.wait_for_timeout(300)
    page.reload()
    page.click("#open-history")
    page.click(".entry")
    page.wait_for_selector("#result-title:text-is('Part restored')")
    sizes = "[...document.querySelectorAll('#stage img')].map((image) => image.naturalWidth)"
    until(page, f"String({sizes}) === '64,64'")


def test_one_of_several_results_is_chosen_and_each_can_be_downloaded(browse, served, photo, tmp_path, axe):
    page = browse(served.url)
    found(page, photo("noisy.png"))
    only_blur(page)
    page.click("#more summary")
    page.select_option("#variants", "3")
    page.click("#restore")
    page.wait_for_selector("[data-key=variant-3]")
    assert axe(page) == []
    files = {}
    for number in (1, 2, 3):
        page.click(f"[data-key=variant-{number}]")
        page.wait_for_selector(f"[data-key=variant-{number}][aria-pressed=true]")
        data, name = download(page)
        files[name] = data
    assert list(files) == [f"noisy-restored-{number}.png" for number in (1, 2, 3)]
    assert len(set(files.values())) == 3
    data, name = download(page, "#download-variants")
    with ZipFile(io.BytesIO(data)) as archive:
        assert {entry: archive.read(entry) for entry in archive.namelist()} == files
    page.click("#open-code")
    subprocess.run(page.inner_text("#code-curl"), shell=True, cwd=tmp_path, check=True, timeout=90)
    assert (tmp_path / "noisy-restored-3.png").read_bytes() == files["noisy-restored-3.png"]


def test_one_result_of_a_repair_without_chance_is_explained(browse, served, photo):
    page = browse(served.url)
    found(page, photo("noisy.png"))
    page.click("#more summary")
    page.select_option("#variants", "2")
    page.click("#restore")
    page.wait_for_selector("#download")
    assert "only one result" in page.inner_text("#result .warning")
    assert page.locator("[data-key^=variant-]").count() == 0


def test_what_older_workers_refuse_is_told_and_the_whole_photo_is_left(browse, served, photo):
    page = browse(served.url)
    found(page, photo("noisy.png"))

    def refuse(route):
        job = route.fetch().json()
        error = {"code": "spec-version", "detail": "the worker is older", "hint": "update the workers"}
        route.fulfill(json={**job, "status": "failed", "result": None, "error": error})

    page.route("**/restore", refuse)
    page.click("#choose-part")
    page.click("#restore-part")
    page.wait_for_selector("#action [data-code=spec-version]")
    assert "do not know one of these options" in page.inner_text("#action")
    page.unroute("**/restore")
    page.click("#restore")
    page.wait_for_selector("#download")
    assert served.newest()["params"]["crop"] is None


def test_a_service_without_these_fields_shows_no_such_controls(browse, served, photo):
    page = browse(served.url)

    def older(route):
        text = route.fetch().text()
        for name in ("crop", "variants", "scale"):
            text = text.replace(f'"{name}":', f'"later_{name}":')
        route.fulfill(body=text, content_type="application/json")

    page.route("**/openapi.json", older)
    page.reload()
    page.wait_for_selector("#limits:not(:empty)")
    found(page, photo("noisy.png"))
    page.click("#more summary")
    assert page.locator("#format").is_visible()
    assert page.locator("#choose-part").is_hidden()
    assert page.locator("#variants, #scale").count() == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_told_and_the_photo_is_sent_again(browse, served, photo, status):
    page = browse(served.url, quiet=False)
    found(page, photo("noisy.png"))
    refused = []

    def refuse(route):
        refused.append(route.request.headers.get("idempotency-key"))
        if len(refused) > 1:
            return route.continue_()
        body = {"status": status, "code": "queue-full", "detail": "the queue is full", "hint": "try again later"}
        return route.fulfill(status=status, headers={"Retry-After": "2"}, json=body)

    page.route("**/restore", refuse)
    page.click("#restore")
    page.wait_for_selector("#action:has-text('The server is busy. Trying again in 2 sec')")
    page.wait_for_selector("#download")
    assert len(refused) == 2 and refused[0] == refused[1]


def test_a_quota_of_a_day_is_told_at_once(browse, served, photo):
    page = browse(served.url, quiet=False)
    found(page, photo("noisy.png"))
    body = {"status": 429, "code": "quota-megapixels", "detail": "the quota is used up", "hint": "wait until tomorrow"}
    page.route("**/restore", lambda route: route.fulfill(status=429, headers={"Retry-After": "40000"}, json=body))
    page.click("#restore")
    page.wait_for_selector("#action [data-code=quota-megapixels]", timeout=5000)
    assert "The daily quota of this API key is used up" in page.inner_text("#action")
