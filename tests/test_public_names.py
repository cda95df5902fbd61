"""Public names have one spelling: American, with the words of the glossary, and the same word for the same thing.

Public are routes, fields, events, metrics, settings, commands, options and refusal codes.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
import typer

from cli.main import app
from cli.settings import PREFIX, Settings
from jobs.metric_table import METRICS
from service.app import create_app
from service.refusals import Refusal
from service.routes.events import FINAL_EVENTS
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
API_PAGE = (ROOT / "docs" / "api.md").read_text()

BRITISH = (
    "colour", "licence", "cancelled", "cancelling", "grey", "centre", "behaviour", "neighbour", "favour", "catalogue",
    "analyse", "normalise", "normalisation", "optimise", "recognise", "initialise", "organise", "quantise",
    "visualise", "modelling", "labelled", "labelling", "artefact", "defence", "metre", "judgement", "programme",
)  # fmt: skip
OTHER_WORDS = {
    "iteration": "pass", "round": "pass", "patch": "tile", "expert": "specialist", "priority": "lane", "lock": "lease",
    "model": "bundle", "checkpoint": "bundle", "most": "max", "maximum": "max", "longest": "max", "largest": "max",
    "least": "min", "minimum": "min", "sharpness": "strength", "picture": "image", "photo": "image",
}  # fmt: skip
"""Words that the glossary forbids in public names, and the word to use."""
ALLOWED = {
    # "step" means a denoising step
    ("field", "step"), ("field", "steps"), ("option", "--steps"), ("field", "steps_per_s"), ("event", "step.progress"),
    ("metric", "undegrade_step_batch_images"), ("metric", "undegrade_step_batch_megapixels"),
    ("metric", "undegrade_step_seconds_fixed"), ("metric", "undegrade_step_seconds_per_megapixel"),
    ("field", "steps_limit"),  # of a preset
    ("code", "no-such-step"),  # a pass, but codes are stable
    # the list of bundles is called models, as in other tools
    ("route", "/models"), ("schema", "ModelBody"), ("command", "models"), ("metric", "undegrade_model_load_seconds"),
    # pictures that `evaluate` writes side by side
    ("option", "--pictures"),
}  # fmt: skip
"""Each exception with its kind: a name of another kind or a longer name is not excepted."""


def words(name: str) -> list[str]:
    """The words of a name, lower case and singular."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return [part.lower() if part.lower().endswith("ss") else part.lower().removesuffix("s") for part in parts]


def complaints(kind: str, name: str) -> list[str]:
    """What is wrong with the spelling of a public name."""
    if (kind, name) in ALLOWED:
        return []
    spelled = "".join(re.findall("[a-z]", name.lower()))
    found = [f"{kind} {name}: {word!r} is British spelling" for word in BRITISH if word in spelled]
    for word in words(name):
        if word == "step":
            found.append(f"{kind} {name}: 'step' means a denoising step; a repair is a 'pass'")
        elif word in OTHER_WORDS:
            found.append(f"{kind} {name}: say {OTHER_WORDS[word]!r} instead of {word!r}")
    return found


def events() -> set[str]:
    """Event types that the Lua scripts and the worker write."""
    lua = "\n".join(path.read_text() for path in (ROOT / "jobs" / "scripts").glob("*.lua"))
    found = set(re.findall(r"(?:'undegrade:events:' .. id.*'type'|add_event\(id), '([a-z.]+)'", lua))
    found |= set(re.findall(r"= '([a-z.]+)'", re.search(r"EVENT = \{(.*)\}", lua)[1]))
    for path in (ROOT / "worker").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Event":
                types = [keyword.value for keyword in call.keywords if keyword.arg == "type"]
                found |= {
                    node.value for value in types for node in ast.walk(value) if isinstance(node, ast.Constant)
                }  # fmt: skip
    return {name for name in found if isinstance(name, str)}


def names_of_the_api() -> set[tuple[str, str]]:
    openapi = create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")).openapi()
    found = {("route", path) for path in openapi["paths"]}
    for methods in openapi["paths"].values():
        for route in methods.values():
            found |= {("field", entry["name"]) for entry in route.get("parameters", [])}
            for content in route.get("requestBody", {}).get("content", {}).values():
                found |= {("field", name) for name in content["schema"].get("properties", {})}
    for name, schema in openapi["components"]["schemas"].items():
        found |= {("schema", name), *(("field", field) for field in schema.get("properties", {}))}
    return found


def names_of_the_command_line(command, path: str = "") -> set[tuple[str, str]]:
    found = {("command", path)} if path else set()
    for parameter in command.params:
        found |= {("option", name) for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")}
    for name, child in getattr(command, "commands", {}).items():
        found |= names_of_the_command_line(child, name)
    return found


def refusals(kind: type[Refusal] = Refusal) -> set[type[Refusal]]:
    return {kind, *(below for child in kind.__subclasses__() for below in refusals(child))}


NAMES = {
    *names_of_the_api(),
    *names_of_the_command_line(typer.main.get_command(app)),
    *(("event", name) for name in events() | set(FINAL_EVENTS)),
    *(("metric", spec.name) for spec in METRICS),
    *(("setting", f"{PREFIX}{name.upper()}") for name in Settings.model_fields),
    *(("code", kind.code) for kind in refusals()),
}


def test_every_kind_of_name_is_collected():
    kinds = defaultdict(set)
    for kind, name in NAMES:
        kinds[kind].add(name)
    assert {"/restore", "/jobs/{job_id}/passes/{number}/image"} <= kinds["route"]
    assert {"color_fix", "image_base64", "max_bytes", "stop_reason"} <= kinds["field"]
    assert kinds["event"] == {
        "queued", "started", "detected", "step.progress", "pass.completed", "completed", "failed", "canceled",
        "expired",
    }  # fmt: skip
    assert {"undegrade_requests_total", "undegrade_jobs_queued", "undegrade_stage_seconds"} <= kinds["metric"]
    assert {"UNDEGRADE_MAX_QUEUED"} <= kinds["setting"] and {"--color-fix", "--max-passes"} <= kinds["option"]
    assert {"queue-full", "canceled"} <= kinds["code"] and {"restore", "models", "pull"} <= kinds["command"]


@pytest.mark.parametrize(("kind", "name"), sorted(NAMES), ids=lambda text: str(text))
def test_a_public_name_is_american_and_uses_the_words_of_the_glossary(kind, name):
    assert not complaints(kind, name)


def test_every_exception_is_in_use():
    assert ALLOWED <= NAMES


@pytest.mark.parametrize(("kind", "name"), [
    ("route", "/jobs/{job_id}/steps/{number}/image"), ("option", "--colour-fix"), ("field", "colour_fix"),
    ("event", "step.completed"), ("field", "max_steps"), ("option", "--accept-licence"), ("event", "cancelled"),
    ("field", "model"), ("option", "--model"), ("setting", "UNDEGRADE_MOST_QUEUED"), ("field", "iterations"),
    ("metric", "undegrade_jobs_cancelled_total"), ("schema", "StepBody"), ("route", "/jobs/{job_id}/picture"),
])  # fmt: skip
def test_a_name_in_another_spelling_is_refused(kind, name):
    assert complaints(kind, name)


def spellings(names: set[tuple[str, str]]) -> dict[str, set[str]]:
    """The spellings of the fields, options and settings, up to - and _, by their letters alone."""
    found = defaultdict(set)
    for kind, name in names:
        if kind in ("field", "option", "setting"):
            spelled = name.removeprefix("--").removeprefix(PREFIX).lower().replace("-", "_")
            found[spelled.replace("_", "")].add(spelled)
    return found


def test_fields_options_and_settings_have_one_spelling():
    assert not [variants for variants in spellings(NAMES).values() if len(variants) > 1]


def test_a_second_spelling_is_noticed():
    names = {("field", "color_fix"), ("option", "--colorfix")}
    assert spellings(names)["colorfix"] == {"color_fix", "colorfix"}


def test_a_setting_of_the_service_has_the_name_of_its_environment_variable():
    ours = {name for name in ServiceSettings.__dataclass_fields__}
    in_megabytes = {"max_bytes", "max_batch_bytes", "max_stored_bytes", "max_stored_bytes_per_key"}
    without_variable = {*in_megabytes, "max_waits", "keepalive_s", "embedded_redis_folder", "quotas"}
    assert ours - set(Settings.model_fields) == without_variable


@pytest.mark.parametrize(("name", "without_setting"), [("api", set()), ("serve", {"open"}), ("worker", {"lanes"})])
def test_an_option_of_a_server_has_the_name_of_its_setting(name, without_setting):
    command = typer.main.get_command(app).commands[name]
    shown = {option.removeprefix("--").removeprefix("no-") for _, option in names_of_the_command_line(command)}
    options = {option.replace("-", "_") for option in shown}
    assert options - set(Settings.model_fields) - {"help"} == without_setting


def test_every_event_is_in_the_api_page():
    section = API_PAGE.partition("\n## Events\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z.]+)` \|", section, re.MULTILINE)) == events()
    assert set(FINAL_EVENTS) == set(re.findall(r"^\| `([a-z.]+)` \|.*last event \|$", section, re.MULTILINE))
