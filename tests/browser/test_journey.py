"""What a person does on the page, with a real worker."""

import io
import subprocess
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def psnr(one, other):
    difference = np.asarray(one, float) - np.asarray(other, float)
    return 10 * np.log10(255**2 / np.mean(difference**2))


def opened(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def choose(page, *files):
    page.set_input_files("#file", list(files))
    page.wait_for_selector(".bar-row, .notice.error")


def restore(page):
    page.click("#restore")
    page.wait_for_selector("#download")


def download(page, button="#download"):
    with page.expect_download() as got:
        page.click(button)
    return Path(got.value.path()).read_bytes(), got.value.suggested_filename


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_newcomer_restores_a_photo_in_two_clicks(browse, served, size_name):
    page = browse(served.url, size_name)
    assert fits(page)
    page.click(".sample >> nth=0")
    page.click("#restore")
    data, name = download(page)
    assert name == "noise-restored.jpg"
    with Image.open(ROOT / "examples" / "clean" / "cat.jpg") as cat:
        clean = cat.convert("RGB").crop((13, 2, 397, 290))
    with Image.open(ROOT / "web" / "samples" / "noise.jpg") as sample:
        before = psnr(sample.convert("RGB"), clean)
    assert psnr(opened(data), clean) > before + 5
    assert fits(page)
    assert page.inner_text("#result .pass-name") == "Noise"


@pytest.fixture(params=["phone", "desktop"])
def size_name(request):
    return request.param


def test_everything_can_be_done_with_the_keyboard(browse, served):
    page = browse(served.url)

    def tab_to(selector):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(selector) => document.activeElement?.matches(selector)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to(".sample[data-key=haze]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".bar-row")
    tab_to("#repair-haze")
    tab_to("#restore")
    page.keyboard.press("Enter")
    page.wait_for_selector("#download")
    tab_to("#divider")
    before = page.evaluate("document.querySelector('.clip').style.clipPath")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('.clip').style.clipPath") != before
    tab_to("#hold")
    page.keyboard.down("Space")
    assert page.locator("#stage img").count() == 1 and "original" in page.locator("#stage img").get_attribute("alt")
    page.keyboard.up("Space")
    assert page.locator("#stage img").count() == 2
    tab_to("#download")
    with page.expect_download():
        page.keyboard.press("Enter")
    tab_to("#open-code")
    page.keyboard.press("Enter")
    assert page.locator("#code-dialog").is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "open-code"


def test_screen_readers_are_told_what_happens(browse, served, photo, until):
    page = browse(served.url)
    page.evaluate("""() => {
        const status = document.getElementById("status");
        window.said = [];
        const told = new MutationObserver(() => said.push(status.textContent));
        told.observe(status, {childList: true, characterData: true, subtree: true});
    }""")
    choose(page, photo("noisy.png"))
    restore(page)
    until(page, "said.includes('The photo is restored.')")
    assert page.evaluate("said")[0] == "The photo has been examined. You can restore it now."


def test_the_views_show_before_and_after_and_zoom_together(browse, served, photo):
    page = browse(served.url)
    choose(page, photo("noisy.png"))
    restore(page)
    transforms = "[...document.querySelectorAll('.layer')].map((layer) => layer.style.transform)"
    page.click("label:has(#mode-side)")
    page.focus("#stage")
    for key in ("+", "+", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    left, right = page.evaluate(transforms)
    assert left == right and "scale(2.25)" in left
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 220, steps=3)
    page.mouse.up()
    moved = page.evaluate(transforms)
    assert moved[0] == moved[1] != left
    page.click("label:has(#mode-slider)")
    page.click("[data-key=fit]")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 100, steps=3)
    page.mouse.up()
    assert abs(float(page.input_value("#divider")) - 25) < 1


def test_the_passes_are_a_filmstrip(browse, served, photo, until):
    page = browse(served.url)
    choose(page, photo("noisy.png"))
    restore(page)
    frames = page.locator(".frame")
    assert frames.all_inner_texts() == ["Before", "1. Noise", "Result"]
    frames.nth(1).click()
    until(page, "document.querySelector('.tag.right').textContent === 'Pass 1'")
    assert frames.nth(1).get_attribute("aria-pressed") == "true"


def test_a_chosen_repair_is_the_only_one(browse, served, photo):
    page = browse(served.url)
    choose(page, photo("noisy.png"))
    page.click("#repair-noise")
    page.wait_for_selector("#restore:disabled")
    page.click("#others summary")
    page.click("#repair-haze")
    restore(page)
    assert served.newest()["params"]["only"] == ["haze"]


def test_a_prompt_is_sent_and_decides_alone(browse, served, photo):
    page = browse(served.url)
    choose(page, photo("noisy.png"))
    page.click("#describe summary")
    page.click("[data-key=suggest-noise]")
    assert page.input_value("#prompt") == "remove the noise"
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert page.evaluate("document.activeElement.id") == "prompt", "a redraw took the focus out of an open section"
    page.keyboard.press("Enter")
    page.wait_for_selector("#download")
    params = served.newest()["params"]
    assert (params["prompt"], params["only"]) == ("remove the noise", [])


def ask(page, words):
    page.fill("#prompt", words)
    page.keyboard.press("Enter")


def test_words_that_ask_for_what_cannot_be_done_are_refused_with_what_can_be_done(browse, served, photo):
    page = browse(served.url, quiet=False)  # the browser reports the refusal to its console
    choose(page, photo("noisy.png"))
    page.select_option("#language", "de")
    page.click("#describe summary")
    ask(page, "entferne den Schatten")
    page.wait_for_selector(".notice.error[data-code=prompt-not-understood]")
    assert "Das kann es nicht reparieren: Schatten" in page.inner_text(".notice.error")
    page.click("[data-key=say-noise]")
    page.wait_for_selector("#download")
    assert page.input_value("#prompt") == served.newest()["params"]["prompt"] == "entferne das Rauschen"
    assert page.inner_text("#understood") == "Verstanden: Rauschen"


def test_what_is_possible_is_done_on_request(browse, served, photo):
    page = browse(served.url, quiet=False)
    choose(page, photo("noisy.png"))
    page.click("#describe summary")
    ask(page, "remove the noise and the shadow, but keep the fog")
    page.click("#best-effort")
    page.wait_for_selector("#download")
    job = served.newest()
    assert job["params"]["best_effort"] is True and [one["label"] for one in job["passes"]] == ["noise"]
    assert "Left alone: Haze" in page.inner_text("#understood") and page.inner_text("#result .warning")


def test_the_format_and_the_strength_are_sent(browse, served, photo):
    page = browse(served.url)
    choose(page, photo("noisy.png"))
    page.click("#more summary")
    page.select_option("#format", "webp")
    page.fill("#strength", "0.5")
    page.fill("#seed", "7")
    restore(page)
    params = served.newest()["params"]
    assert (params["format"], params["strength"], params["seed"]) == ("webp", 0.5, 7)
    data, name = download(page)
    assert name == "noisy-restored.webp" and Image.open(io.BytesIO(data)).format == "WEBP"


def test_the_copied_command_makes_the_same_picture(browse, served, photo, tmp_path):
    page = browse(served.url)
    choose(page, photo("it's noisy.png"))
    restore(page)
    data, _ = download(page)
    page.click("#open-code")
    command = page.inner_text("#code-curl")
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, timeout=90, executable="/bin/sh")
    assert (tmp_path / "it's noisy-restored.png").read_bytes() == data


def test_several_photos_are_restored_and_downloaded_together(browse, served, photo, until):
    page = browse(served.url)
    files = [photo(f"{index}.png", box=(index * 40, 40, index * 40 + 96, 136)) for index in range(3)]
    choose(page, *files, photo("same.png"))
    assert page.locator(".thumb").count() == 4
    page.click("[data-key^=remove-] >> nth=3")
    page.click("#restore-all")
    page.wait_for_selector("#download-all")
    until(page, "document.querySelectorAll('li[data-state=done]').length === 3")
    data, _ = download(page, "#download-all")
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["0-restored.png", "1-restored.png", "2-restored.png"]
        assert all(opened(archive.read(name)).size == (96, 96) for name in archive.namelist())


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_can_be_dropped_and_pasted(browse, served, way):
    page = browse(served.url)
    page.evaluate(
        """async (way) => {
        const blob = await (await fetch("web/samples/haze.jpg")).blob();
        const data = new DataTransfer();
        data.items.add(new File([blob], "given.jpg", { type: "image/jpeg" }));
        const event = way === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
    }""",
        way,
    )
    page.wait_for_selector("#repair-haze")
    assert page.inner_text("#photo-title") == "given.jpg"


def test_a_file_that_the_browser_cannot_show_is_restored_and_shown(browse, served, photo, until):
    page = browse(served.url, quiet=False)
    choose(page, photo("scan.tif"))
    assert "cannot show" in page.inner_text("#stage")
    restore(page)
    until(page, "document.querySelector('#stage img')?.naturalWidth === 128")
    data, name = download(page)
    assert name == "scan-restored.tif" and Image.open(io.BytesIO(data)).format == "TIFF"
    page.wait_for_timeout(300)
    page.reload()
    page.click("#open-history")
    page.click(".entry")
    assert "cannot show" in page.inner_text("#stage")
    assert download(page) == (data, name)


def test_the_history_survives_a_reload_and_can_be_cleared(browse, served, photo):
    page = browse(served.url)
    choose(page, photo("kept.png"))
    restore(page)
    data, _ = download(page)
    page.wait_for_timeout(300)
    page.reload()
    page.click("#open-history")
    page.click(".entry")
    again, name = download(page)
    assert (again, name) == (data, "kept-restored.png")
    page.click("#open-history")
    page.click("#history-clear")
    page.wait_for_selector(".entry", state="detached")
    assert "nothing here yet" in page.inner_text("#history-dialog")
    assert page.locator(".entry").count() == 0


@pytest.mark.parametrize("tag", ["de", "fr", "es", "ja", "zh"])
def test_the_page_fits_a_small_phone_in_every_language(browse, served, photo, tag, until):
    page = browse(served.url, {"width": 320, "height": 640})
    page.select_option("#language", tag)
    until(page, "(tag) => document.documentElement.lang.startsWith(tag)", tag)
    assert fits(page)
    choose(page, photo("a-photo-with-quite-a-long-name-without-any-space.png"))
    for part in ("#describe summary", "#more summary", "#others summary"):
        page.click(part)
    assert fits(page)
    page.click("#choose-part")
    assert fits(page)
    page.click("#choose-part")
    if tag in ("de", "ja"):
        restore(page)
        assert fits(page)
        assert page.inner_text("#result-title") != "Restored"


def test_the_page_uses_a_large_screen(browse, served, photo):
    page = browse(served.url, {"width": 3840, "height": 2160})
    choose(page, photo("noisy.png"))
    restore(page)
    box = page.locator("#stage").bounding_box()
    assert box["width"] > 2400 and box["height"] > 1200
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
