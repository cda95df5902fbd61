"""The OpenAPI document: valid by its own specification, and every example valid by the schema that it illustrates."""

import tomllib
from pathlib import Path

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.app import create_app
from service.example_bodies import A_PICTURE
from service.openapi import upload_docs
from service.problems import PROBLEM_TYPE
from service.refusals import MethodNotAllowed, NotFound, Refusal
from service.request_options import read_options
from service.settings import ServiceSettings

OPENAPI = create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")).openapi()
OPERATIONS = {route["operationId"]: route for methods in OPENAPI["paths"].values() for route in methods.values()}
ROOT = Path(__file__).parents[2]
OF_ANY_PATH = {MethodNotAllowed.code, NotFound.code}
"""Refusals of requests that no operation of the document has."""


def places():
    """Every place that should have an example, with its name."""
    for name, route in OPERATIONS.items():
        for parameter in route.get("parameters", []):
            yield f"{name} {parameter['name']}", parameter
        for media_type, content in route.get("requestBody", {}).get("content", {}).items():
            yield f"{name} body {media_type}", content
        for status, answer in route["responses"].items():
            for media_type, content in answer.get("content", {}).items():
                yield f"{name} {status} {media_type}", content


PLACES = dict(places())


def examples(place):
    single = [place["example"]] if "example" in place else []
    return single + [entry["value"] for entry in place.get("examples", {}).values()]


def validator(schema):
    """A validator that resolves references into the document."""
    whole = {**schema, "components": OPENAPI["components"]}
    return jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker())


def problems():
    for route in OPERATIONS.values():
        for status, answer in route["responses"].items():
            for example in examples(answer.get("content", {}).get(PROBLEM_TYPE, {})):
                yield int(status), example


def tree(kind):
    return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]


def test_the_document_is_valid_by_its_own_specification():
    OpenAPIV31SpecValidator(OPENAPI).validate()


@pytest.mark.parametrize("name", PLACES)
def test_every_parameter_body_and_response_has_examples_that_fit_its_schema(name):
    found = examples(PLACES[name])
    assert found
    for example in found:
        validator(PLACES[name]["schema"]).validate(example)


def test_an_example_that_does_not_fit_is_found():
    with pytest.raises(jsonschema.ValidationError):
        validator(OPERATIONS["job"]["responses"]["200"]["content"]["application/json"]["schema"]).validate({"id": 1})


def test_every_refusal_has_an_example_under_its_status():
    assert all(problem["status"] == status for status, problem in problems())
    expected = {kind.code for kind in tree(Refusal)[1:]} - OF_ANY_PATH
    assert {problem["code"] for _, problem in problems()} == expected


def test_no_response_is_described_by_a_word_only():
    for route in OPERATIONS.values():
        assert all(answer["description"] not in ("", "Refused") for answer in route["responses"].values())


@pytest.mark.parametrize("path", ["/restore", "/detect"])
@pytest.mark.parametrize("form", ["multipart/form-data", "application/json", "image/png"])
def test_the_service_accepts_the_example_of_each_body(client, picture, path, form):
    body = OPENAPI["paths"][path]["post"]["requestBody"]["content"][form]["example"]
    prefer = {"Prefer": "respond-async"}
    if form == "application/json":
        answer = client.post(path, json=body, headers=prefer)
    elif form == "multipart/form-data":
        fields = {name: value for name, value in body.items() if value != A_PICTURE}
        answer = client.post(path, files={"image": picture()}, data=fields, headers=prefer)
    else:
        answer = client.post(path, content=picture(), headers={**prefer, "Content-Type": form})
    assert answer.status_code == 202, answer.text


def test_a_response_has_the_headers_that_the_document_promises(client, worker, submitted, until_ready):
    until_ready(client)
    job = submitted(headers={"Prefer": "wait=20"})["id"]
    result = client.get(f"/jobs/{job}/result")
    answers = {
        ("result", "200"): result,
        ("result", "304"): client.get(f"/jobs/{job}/result", headers={"If-None-Match": result.headers["ETag"]}),
        ("pass_image", "200"): client.get(f"/jobs/{job}/passes/1/image"),
        ("job", "404"): client.get(f"/jobs/{'0' * 32}"),
        ("limits", "200"): client.get("/limits"),
    }
    for (operation, status), answer in answers.items():
        assert answer.status_code == int(status)
        documented = OPERATIONS[operation]["responses"][status]["headers"]
        promised = {"X-Request-Id", *(name for name, header in documented.items() if header["required"])}
        assert {name.lower() for name in promised} <= set(answer.headers)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_response_documents_its_headers_with_examples(operation):
    for answer in OPERATIONS[operation]["responses"].values():
        assert "X-Request-Id" in answer["headers"]
        for header in answer["headers"].values():
            validator(header["schema"]).validate(header["example"])


VALUES = [
    ({}, True), ({"prompt": "remove rain"}, True), ({"prompt": "a\tb\nc"}, True), ({"prompt": "a\0b"}, False),
    ({"prompt": "x" * 1001}, False), ({"prompt": "rain", "only": ["noise"]}, False),
    ({"prompt": None, "only": ["noise"]}, True), ({"prompt": "rain", "only": []}, True),
    ({"prompt": "rain", "skip": ["blur"]}, False), ({"only": ["grain", "low-light"]}, True),
    ({"only": ["dust"]}, True), ({"only": ["#dust"]}, False),
    ({"strength": 1.5}, False), ({"strength": True}, False), ({"steps": "5"}, False),
    ({"steps": 5.0}, True), ({"steps": 5.5}, False), ({"seed": 1e30}, False),
    ({"crop": [0, 0, 4.0, 2.0]}, True), ({"crop": [0, 0, 4.5, 2]}, False),
    ({"strength": 1}, True), ({"color_fix": 1.0}, False), ({"prompt": 1.0}, False), ({"seed": 2**63}, False),
    ({"deadline_s": 0}, False), ({"bundle": None, "quality": None}, True), ({"x": 1}, False),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "valid"), VALUES, ids=lambda value: str(value)[:40])
def test_the_schema_of_a_json_body_and_the_service_agree(fields, valid):
    schema = upload_docs("restore")["requestBody"]["content"]["application/json"]["schema"]
    assert validator(schema).is_valid({"image_base64": "aGk=", **fields}) is valid
    try:
        read_options("restore", {}, fields)
    except Refusal:
        assert not valid
    else:
        assert valid


def settings(table):
    """Every (name, value) of a TOML table and of the tables in it."""
    for name, value in table.items():
        yield name, value
        for below in value if isinstance(value, list) else [value]:
            if isinstance(below, dict):
                yield from settings(below)


def test_no_check_and_no_phase_of_schemathesis_is_switched_off():
    found = list(settings(tomllib.loads((ROOT / "schemathesis.toml").read_text())))
    assert any(name == "expected-statuses" for name, _ in found)
    assert not any(name == "enabled" for name, _ in found)


def test_no_query_parameter_may_be_null():
    for route in OPERATIONS.values():
        assert all("anyOf" not in parameter["schema"] for parameter in route.get("parameters", []))


def test_a_field_of_an_upload_has_no_default_in_the_query():
    """Generated clients send the defaults of query and body, and a field that comes twice is refused."""
    for name in ("restore", "detect"):
        assert not [entry for entry in OPERATIONS[name]["parameters"] if "default" in entry["schema"]]
