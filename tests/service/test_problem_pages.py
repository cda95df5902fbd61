"""The `type` of a problem is a page that explains its code."""

import re
from html import unescape
from urllib.parse import urljoin

import pytest

from service.problem_pages import problem_page, refusals_by_code


@pytest.mark.parametrize("code", refusals_by_code())
def test_every_code_has_a_page_with_its_status_its_meaning_and_what_to_do(code):
    kind = refusals_by_code()[code]
    page = problem_page(kind)
    text = unescape(re.sub(r"<[^>]+>", " ", page))
    assert str(kind.status.value) in text
    assert kind.hint, "a refusal needs a hint: what to do"
    assert kind.hint[1:] in text
    assert " ".join(kind.__doc__.replace("`", "").split()) in text, "a refusal needs a docstring for its page"
    assert "<script" not in page and "style=" not in page


def test_a_page_is_served_as_html_under_a_strict_policy(client):
    answer = client.get("/problems/queue-full")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_list_names_every_code_and_its_links_work(client):
    page = client.get("/problems").text
    links = re.findall(r'<a href="(problems/[^"]+)">', page)
    assert links == [f"problems/{code}" for code in refusals_by_code()]
    assert client.get(urljoin("/problems", links[0])).status_code == 200
    back = re.findall(r'<a href="([^"]+)">', client.get("/problems/gone").text)
    assert [client.get(urljoin("/problems/gone", link)).status_code for link in back] == [200, 200]


def test_the_type_of_a_problem_leads_to_its_page(client):
    problem = client.get("/nowhere").json()
    assert problem["code"] in client.get(problem["type"]).text


@pytest.mark.parametrize("path", ["/ai/nowhere", "/nowhere"])
def test_the_type_has_the_path_under_which_a_proxy_exposes_the_service(serve, path):
    client = serve(root_path="/ai").client
    assert client.get(path).json()["type"] == "/ai/problems/not-found"
    assert client.get("/ai/problems/not-found").status_code == 200


@pytest.mark.parametrize("code", ["nothing", "refused", "%3Cb%3E", "%2e%2e%2fdocs"])
def test_an_unknown_code_has_no_page(client, code):
    answer = client.get(f"/problems/{code}")
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
