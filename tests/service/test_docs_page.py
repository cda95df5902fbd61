"""The API reference: without scripts or external resources, and complete."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from service.app import create_app
from service.docs_page import docs_page
from service.refusals import Refusal
from service.settings import ServiceSettings

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
REFERENCE = (Path(__file__).parents[2] / "docs" / "api-reference.md").read_text()
OPENAPI = create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")).openapi()
ROUTES = [f"{method.upper()} {path}" for path, methods in OPENAPI["paths"].items() for method in methods]


class Links(HTMLParser):
    """Every resource and link of a page."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in ("src", "href", "action", "srcset", "data")]


def test_the_page_uses_no_external_resources(client):
    answer = client.get("/docs")
    page = Links()
    page.feed(answer.text)
    assert answer.status_code == 200 and page.found == ["openapi.json"] and "script" not in page.tags
    assert "://" not in re.sub(r"<pre>.*?</pre>|<td>&quot;https:.*?</td>", "", answer.text, flags=re.DOTALL), (
        "examples name a Redis and a store"
    )
    assert "url(" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")


def test_the_page_shows_every_route_and_field(client):
    text = re.sub(r"<[^>]+>", "", client.get("/docs").text)
    assert all(route.lower() in text.lower() for route in ROUTES)
    assert "max_passes" in text and "image_base64" in text


def test_the_page_shows_examples_of_parameters_bodies_and_responses():
    page = docs_page(OPENAPI)
    assert "<td>&quot;remove the rain&quot;</td>" in page and "`" not in re.sub(r"<pre>.*?</pre>", "", page)
    for title in ("Example of a body: application/json", "Example of 202: queued", "Example of 200: succeeded"):
        found = re.search(rf"<summary>{title}</summary><pre>([^<]+)</pre>", page)
        assert json.loads(unescape(found[1]))


@pytest.mark.parametrize("route", ROUTES)
def test_the_page_has_a_curl_example_of_every_route(route):
    method, path = route.split()
    url = "$API" + path.replace("{job_id}", "$ID").replace("{number}", "1")
    lines = re.findall(r"<pre>(curl [^<]*)</pre>", docs_page(OPENAPI))
    forms = OPENAPI["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    body, picture = bool(forms), "multipart/form-data" in forms
    named = re.compile(rf"-X {method} " if method == "DELETE" or (method == "POST" and not body) else r"(?!.*-X )")
    found = [line for line in lines if url in line.split() and named.search(line)]
    found = [line for line in found if body == bool(re.search(r" -[Fd] ", line))]  # GET and POST of one path
    assert found and all("-F image=@" in line for line in found) == picture
    assert all(" -d &#x27;{" in line for line in found) == (body and not picture)


def test_every_route_has_a_name_and_its_pictures_are_binary():
    operations = [route for methods in OPENAPI["paths"].values() for route in methods.values()]
    names = [route["operationId"] for route in operations]
    assert len(set(names)) == len(names) and all(name.isidentifier() and len(name) < 20 for name in names)
    for route in operations:
        for answer in route["responses"].values():
            for media_type, content in answer.get("content", {}).items():
                if media_type.startswith("image/"):
                    assert content["schema"] == {"type": "string", "format": "binary"}


def test_the_document_is_served(client):
    assert client.get("/openapi.json").json()["paths"].keys() == OPENAPI["paths"].keys()


def test_every_reference_in_the_document_resolves():
    schemas = OPENAPI["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", str(OPENAPI))) <= set(schemas)
    assert "HTTPValidationError" not in schemas


def test_every_refusal_is_documented_as_a_problem():
    for methods in OPENAPI["paths"].values():
        for path, route in methods.items():
            for status, answer in route["responses"].items():
                if int(status) >= 400 and not re.search("Health|Readiness", str(answer)):
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)


def as_written(path):
    """Returns a path in the spelling of the page."""
    return path.replace("{job_id}", "{id}").replace("{batch_id}", "{id}").replace("{number}", "{n}")


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_is_in_the_api_page(route):
    assert f"`{as_written(route)}`" in PAGE


def test_every_route_of_the_api_page_exists():
    documented = set(re.findall(r"`((?:GET|POST|DELETE|PUT) /[^`\s?]*)[^`]*`", PAGE))
    known = {*map(as_written, ROUTES), "GET /", "GET /problems"}
    assert documented == known, "`/` is the page, and /problems its errors: both are not part of the API"


def examples():
    """Returns the lines that call curl."""
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    blocks = blocks.replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.startswith("curl ") and "$API" in line]


@pytest.mark.parametrize("line", examples())
def test_an_example_calls_a_route_with_fields_that_exist(line):
    path = re.search(r"\$API(/[^\s\"?]*)", line)[1].replace("$ID", "{id}").replace("$BATCH", "{id}")
    implied = "POST" if re.search(r" (-F|-d|--data-binary) ", line) else "GET"
    named = re.search(r" -X (\w+) ", line)
    written = re.sub(r"/(interactive|standard|bulk)/", "/{lane}/", path)
    assert f"{named[1] if named else implied} {written}" in map(as_written, ROUTES)
    form = OPENAPI["paths"]["/restore"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    fields = set(form["properties"])
    assert set(re.findall(r"-F (\w+)=", line)) <= fields


def tree(kind):
    return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]


@pytest.mark.parametrize("code", [kind.code for kind in tree(Refusal)[1:]])
def test_every_code_is_in_the_reference(code):
    assert f"| `{code}` |" in REFERENCE


def test_every_code_that_the_api_page_names_exists():
    section = PAGE.partition("## Errors")[2].partition("A failed job has an")[0]
    codes = {kind.code for kind in tree(Refusal)[1:]}
    assert set(re.findall(r"`([a-z]+-[a-z-]+)`", section)) <= codes


@pytest.mark.parametrize("field", OPENAPI["paths"]["/restore"]["post"]["parameters"], ids=lambda field: field["name"])
def test_every_field_is_in_the_api_page(field):
    assert f"`{field['name']}" in PAGE
