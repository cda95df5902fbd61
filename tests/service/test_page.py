"""The files of the page: nothing from other hosts, nothing inline, one set of words in each language."""

import json
import re
import shutil
import subprocess
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from PIL import Image

from models.photo.part import check_part
from models.vocabulary import DEGRADATIONS
from models.words.wish import understand_wish
from service.app import create_app
from service.page import CONTENT_SECURITY_POLICY, page_files
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
TEXTS = [path for path in sorted(WEB.rglob("*")) if path.suffix in (".html", ".css", ".js", ".json", ".svg")]
SCRIPTS = [path for path in TEXTS if path.suffix == ".js"]
ENGLISH = json.loads((WEB / "locales" / "en.json").read_text())
every_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(WEB)))


class Tags(HTMLParser):
    """Every tag with its attributes, and the texts inside scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.inline, self.open = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open = tag

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        if self.open in ("script", "style") and data.strip():
            self.inline.append(data)


PAGE = Tags((WEB / "index.html").read_text())


@every_text
def test_no_file_refers_to_another_host(path):
    found = re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.MULTILINE))
    assert set(found) <= {"http://www.w3.org"}  # the name of SVG


def test_the_page_has_no_inline_script_style_or_handler():
    attributes = [name for _, attrs in PAGE.tags for name in attrs]
    assert not PAGE.inline
    assert not [name for name in attributes if name == "style" or name.startswith("on")]


def test_every_reference_of_the_page_is_relative_and_exists():
    references = [attrs[name] for _, attrs in PAGE.tags for name in ("src", "href") if name in attrs]
    files = [reference for reference in references if reference.startswith("web/")]
    assert not [reference for reference in references if re.match(r"/|[a-z]+:", reference)]
    assert files and not [file for file in files if file.removeprefix("web/") not in page_files()]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_files_that_exist_and_never_makes_html_or_code(path):
    text = path.read_text()
    imported = re.findall(r'from "\./([\w/.]+)"|import\("\./([\w/.]+)"\)', text)
    assert not [name for pair in imported for name in pair if name and not (WEB / name).exists()]
    html = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write"
    assert not re.search(rf"{html}|\beval\(|new Function|setAttribute\(\"style", text)


def test_the_policy_allows_this_server_only():
    directives = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert not re.search(r"unsafe|\*|https?:", CONTENT_SECURITY_POLICY)


# The words


@pytest.mark.parametrize("path", sorted((WEB / "locales").iterdir()), ids=lambda path: path.stem)
def test_every_language_has_the_same_keys_and_placeholders(path):
    words = json.loads(path.read_text())
    assert list(words) == list(ENGLISH)
    for key, text in words.items():
        assert text.strip()
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", ENGLISH[key])), key


def test_six_languages_can_be_chosen():
    offered = re.search(r"LANGUAGES = \{(.*)\}", (WEB / "i18n.js").read_text())[1]
    assert set(re.findall(r"(\w+):", offered)) == {path.stem for path in (WEB / "locales").iterdir()}
    assert len(list((WEB / "locales").iterdir())) == 6


def test_the_words_of_the_page_are_english_until_a_script_runs():
    html = (WEB / "index.html").read_text()
    shown = re.findall(r'data-i18n="([\w.-]+)">([^<]*)<', html)
    labels = re.findall(r'aria-label="([^"]*)" data-i18n-label="([\w.-]+)"', html)
    pairs = [*shown, *((key, text) for text, key in labels)]
    different = [key for key, text in pairs if ENGLISH[key] != text]
    assert shown and set(different) <= {"welcome.lead"}


def test_every_word_that_a_script_uses_exists_and_every_word_is_used():
    text = "\n".join(path.read_text() for path in (*SCRIPTS, WEB / "index.html"))
    used = set(re.findall(r'\bt\("([\w.-]+)"', text)) | set(re.findall(r'data-i18n(?:-label)?="([\w.-]+)"', text))
    begun = set(re.findall(r"`((?:[\w-]+\.)+)\$\{", text))  # t(`degradation.${name}`)
    quoted = set(re.findall(r'"([\w-]+(?:\.[\w-]+)*)"', text))
    assert used <= set(ENGLISH)
    unused = [key for key in ENGLISH if key not in used | quoted and not any(key.startswith(start) for start in begun)]
    assert not unused


@pytest.mark.parametrize("name", [entry.name for entry in DEGRADATIONS])
def test_every_degradation_has_a_name_on_the_page(name):
    assert f"degradation.{name}" in ENGLISH


# The samples, the wheel


def test_the_four_samples_are_small_and_can_be_decoded():
    samples = sorted((WEB / "samples").iterdir())
    assert len(samples) == 4 and sum(path.stat().st_size for path in samples) < 150_000
    for path in samples:
        with Image.open(path) as image:
            image.load()
            assert image.size == (384, 288)


def test_the_page_belongs_to_the_package_and_to_the_images():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "web" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert "!web" in (ROOT / ".dockerignore").read_text().splitlines()


# Modules that need no browser


@pytest.fixture(scope="module")
def javascript(tmp_path_factory):
    """Runs a program that imports the page's modules, with arguments, in Node.js; returns its JSON."""
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("web")
    for path in SCRIPTS:
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(program, *words):
        (folder / "program.js").write_text(program)
        done = subprocess.run([node, "program.js", *words], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    return run


def test_a_zip_of_the_page_can_be_opened(javascript, tmp_path):
    program = """
    import { writeFileSync } from "node:fs";
    import { zip } from "./zip.js";
    const files = [["Grüße.png", "one"], ["a/b.jpg", "two"], ["a_b.jpg", "three"], ["empty", ""]];
    const blobs = files.map(([name, text]) => ({ name, blob: new Blob([text]) }));
    const blob = await zip(blobs, new Date(2026, 10, 27, 12, 30, 8));
    writeFileSync(process.argv[2], Buffer.from(await blob.arrayBuffer()));
    """
    javascript(program, str(tmp_path / "x.zip"))
    with ZipFile(tmp_path / "x.zip") as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
        assert archive.infolist()[0].date_time == (2026, 11, 27, 12, 30, 8)
    assert contents == {"Grüße.png": b"one", "a_b.jpg": b"two", "a_b-2.jpg": b"three", "empty": b""}


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_read_in_any_pieces(javascript, size):
    program = """
    import { EventParser } from "./stream.js";
    const [, , size, text] = process.argv, parser = new EventParser(), found = [];
    for (let at = 0; at < text.length; at += Number(size)) {
      found.push(...parser.feed(text.slice(at, at + Number(size))));
    }
    console.log(JSON.stringify(found));
    """
    text = 'retry: 1000\n\nid: 5-0\nevent: detected\ndata: {"a": 1}\n\n: keep-alive\n\n'
    text += "id: 6-0\r\nevent: completed\r\ndata: {}\r\n\r\n"
    assert javascript(program, str(size), text) == [
        {"id": "5-0", "type": "detected", "data": '{"a": 1}'},
        {"id": "6-0", "type": "completed", "data": "{}"},
    ]


SNIPPET = """
import { NAME } from "./snippets.js";
console.log(JSON.stringify(NAME(JSON.parse(process.argv[2]))));
"""
CALL = {
    "base": "http://localhost:8000/ai/", "name": "it's \"5\" $HOME.jpg", "output": "r;ls.jpg", "key": True,
    "fields": {"only": ["noise", "haze"], "prompt": "don't `touch` @file; \"x\"", "strength": "noise=0.3,haze=1"},
}  # fmt: skip


def test_the_command_means_the_same_to_a_shell(javascript, tmp_path):
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done\n')
    fake.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "UNDEGRADE_API_KEY": "secret", "HOME": "/root"}
    done = subprocess.run(
        ["sh", "-c", javascript(SNIPPET.replace("NAME", "curl"), json.dumps(CALL))],
        env=env,
        capture_output=True,
        check=True,
    )
    words = done.stdout.decode().split("\0")[:-1]
    assert words == [
        "-f", "-H", "Accept: image/*", "-H", "X-API-Key: secret", "-F", 'image=@"it\'s \\"5\\" $HOME.jpg"',
        "-F", "only=noise", "-F", "only=haze", "--form-string", f"prompt={CALL['fields']['prompt']}",
        "-F", "strength=noise=0.3,haze=1", "http://localhost:8000/ai/restore", "-o", "r;ls.jpg",
    ]  # fmt: skip


def test_the_python_program_sends_the_same_request(javascript, tmp_path, monkeypatch):
    source = javascript(SNIPPET.replace("NAME", "python"), json.dumps(CALL))
    monkeypatch.chdir(tmp_path)
    (tmp_path / CALL["name"]).write_bytes(b"photo")
    monkeypatch.setenv("UNDEGRADE_API_KEY", "secret")
    sent = {}

    def answer(request):
        sent.update(url=str(request.url), key=request.headers["x-api-key"], body=request.read())
        return httpx.Response(200, content=b"restored")

    client = httpx.Client(transport=httpx.MockTransport(answer))
    monkeypatch.setattr(httpx, "post", client.post)
    exec(compile(source, "snippet", "exec"), {})
    assert (tmp_path / CALL["output"]).read_bytes() == b"restored"
    assert sent["url"] == "http://localhost:8000/ai/restore" and sent["key"] == "secret"
    assert sent["body"].count(b'name="only"') == 2 and CALL["fields"]["prompt"].encode() in sent["body"]


def test_the_page_reads_from_openapi_what_this_service_offers(javascript, tmp_path):
    app = create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://"))
    (tmp_path / "openapi.json").write_text(json.dumps(app.openapi()))
    program = """
    import { readFileSync } from "node:fs";
    import { offerOf } from "./server.js";
    console.log(JSON.stringify(offerOf(JSON.parse(readFileSync(process.argv[2])))));
    """
    offer = javascript(program, str(tmp_path / "openapi.json"))
    assert offer["formats"] == ["jpeg", "png", "webp", "tiff", "avif"]
    assert offer["presets"] == ["auto", "faithful", "strong", "preview"]
    assert offer["scales"] == [1, 2, 4]
    assert offer["strengthMap"] is True and offer["crop"] is True
    assert offer["variants"] == 4


def test_an_older_service_offers_less(javascript):
    program = 'import { offerOf } from "./server.js"; console.log(JSON.stringify(offerOf({ paths: {} })));'
    assert javascript(program) == {
        "presets": [], "strengthMap": False, "scales": [], "crop": False, "variants": 1, "formats": [],
        "idempotency": False,
    }  # fmt: skip


PARTS = """
import { between, centered, cropOf, inside, opposite, partOf, proposed } from "./rectangle.js";
const [photo, points] = JSON.parse(process.argv[2]);
const all = [];
for (const one of points) {
  all.push(proposed(photo, one));
  for (const other of points) {
    const drawn = between(one, other, photo);
    all.push(drawn, centered(drawn, other, photo), inside({ ...drawn, x: other.x, y: other.y }, photo));
    for (const corner of ["nw", "ne", "sw", "se"]) all.push(between(opposite(drawn, corner), other, photo));
  }
}
console.log(JSON.stringify(all.map((part) => [part, partOf(cropOf(part))])));
"""


@pytest.mark.parametrize("size", [(4000, 3000), (128, 96), (33, 4000), (20, 7), (1, 1)])
def test_a_part_of_a_photo_is_accepted_by_the_service_whatever_is_drawn(javascript, size):
    photo = {"width": size[0], "height": size[1]}
    points = [{"x": x * size[0], "y": y * size[1]} for x in (-0.3, 0, 0.4999, 1, 1.7) for y in (-2, 0.1, 1, 1.0001)]
    for part, same in javascript(PARTS, json.dumps([photo, points])):
        crop = tuple(part[name] for name in ("x", "y", "width", "height"))
        assert part == same and all(isinstance(value, int) for value in crop)
        assert crop[2] > 0 and crop[3] > 0
        assert check_part(*size, crop) == crop[2:]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_module_stays_small(path):
    assert len(path.read_text().splitlines()) < 250


@pytest.mark.parametrize("language", sorted(path.stem for path in (WEB / "locales").glob("*.json")))
def test_the_words_that_the_page_suggests_are_understood(language):
    words = json.loads((WEB / "locales" / f"{language}.json").read_text())
    said = {key.removeprefix("prompt.say."): text for key, text in words.items() if key.startswith("prompt.say.")}
    assert {name: understand_wish(text).repairs for name, text in said.items()} == {name: (name,) for name in said}
    assert set(said) == {entry.name for entry in DEGRADATIONS}
