"""The documentation matches the program: commands, options, settings, links, paths and names."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from cli.exit_codes import EXIT_CODES, ExitCode
from cli.main import app
from cli.settings import Settings
from models.photo.read import Limits
from models.vocabulary import DEGRADATIONS
from service.app import create_app
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CLI_PAGE = (ROOT / "docs" / "cli.md").read_text()
PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
CURRENT_PAGES = [page for page in PAGES if "results" not in page.parts]  # recorded results keep the names of their day
ALWAYS_THERE = {"--help", "--install-completion", "--show-completion"}
FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOMS = ("models", "jobs", "service", "worker", "cli", "client", "tests", "benchmarks", "docs", "examples")


def page_name(page: Path) -> str:
    """The name of a page in a test's id."""
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)
every_current_page = pytest.mark.parametrize("page", CURRENT_PAGES, ids=page_name)


def prose(text: str) -> str:
    """A page without its code blocks."""
    return FENCED.sub("", text)


def code(text: str) -> str:
    """The code blocks and the inline code of a page, one per line."""
    return "\n".join([*FENCED.findall(text), *re.findall(r"`([^`\n]+)`", prose(text))])


# Commands and options


def commands(command: click.Command, path: str = "undegrade") -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups included."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app)))


def options(command: click.Command) -> set[str]:
    """The long options of a command."""
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("--")} - ALWAYS_THERE


def section(name: str) -> str:
    """The part of docs/cli.md under the heading `## name`."""
    found = re.search(rf"^## `{re.escape(name)}`$(.*?)(?=^## |\Z)", CLI_PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no section ## `{name}`"
    return found[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_in_its_section_and_no_other(name):
    text = section(name) if name != "undegrade" else CLI_PAGE.partition("\n## ")[0]
    assert options(COMMANDS[name]) == set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE)) | set(
        re.findall(r"^\| `--[^|]*?`, `(--[a-z-]+)", text, re.MULTILINE)
    )


def documented_default(name: str, text: str) -> str:
    """The second column of the row of an option or a setting, without backquotes."""
    row = re.search(rf"^\| `{re.escape(name)}[` ][^|]*\|([^|]*)\|", text, re.MULTILINE)
    assert row, f"no row for {name}"
    return row[1].strip().replace("`", "")


def as_documented(default: object) -> str:
    """A default as the tables spell it."""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


DEFAULTS = [
    (name, parameter)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if parameter.param_type_name == "option" and not parameter.is_flag
    if isinstance(parameter.default, str | int | float)
]


@pytest.mark.parametrize(("name", "parameter"), DEFAULTS, ids=lambda value: getattr(value, "name", value))
def test_the_default_of_an_option_is_documented(name, parameter):
    option = next(opt for opt in parameter.opts if opt.startswith("--"))
    assert documented_default(option, section(name)) == as_documented(parameter.default)


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.default is not None])
def test_the_default_of_a_setting_is_documented(name):
    documented = documented_default(f"UNDEGRADE_{name.upper()}", section_of_settings())
    assert documented == as_documented(Settings.model_fields[name].default)


def section_of_settings() -> str:
    return CLI_PAGE.partition("\n## Settings\n")[2]


def test_the_limits_of_a_photo_are_documented():
    limits = Limits()
    largest = f"{limits.pixels / 1e6:g} megapixels or {limits.file_bytes / 1e6:.0f} MB"
    assert largest in " ".join(CLI_PAGE.split())


def examples() -> list[str]:
    """The lines of code blocks that call the command."""
    blocks = "\n".join(block for page in PAGES for block in FENCED.findall(page.read_text()))
    lines = blocks.replace("\\\n", " ").splitlines()
    return sorted({line.strip() for line in lines if re.match(r"\s*(\.venv/bin/)?undegrade\s", line)})


@pytest.mark.parametrize("line", examples())
def test_an_example_names_a_command_and_options_that_exist(line):
    words = shlex.split(line.partition("|")[0], comments=True)
    name = "undegrade"
    for word in words[1:]:
        if f"{name} {word}" not in COMMANDS:
            break
        name = f"{name} {word}"
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert name != "undegrade" or given, f"no such command: {line}"
    assert given - ALWAYS_THERE - {"--version"} <= options(COMMANDS[name])


def test_every_setting_is_documented_and_every_documented_setting_exists():
    source = "\n".join(path.read_text() for room in ("models", "cli") for path in (ROOT / room).rglob("*.py"))
    known = {f"UNDEGRADE_{field.upper()}" for field in Settings.model_fields}
    named = set(re.findall(r"UNDEGRADE_[A-Z]+(?:_[A-Z]+)*", source))
    assert known == set(re.findall(r"^\| `(UNDEGRADE_[A-Z_]+)`", CLI_PAGE, re.MULTILINE))
    assert named <= known

    settings = {f"UNDEGRADE_{field.upper()}" for field in Settings.model_fields}
    named = set(re.findall(r"UNDEGRADE_[A-Z]+(?:_[A-Z]+)*", source))
    assert settings == set(re.findall(r"^\| `(UNDEGRADE_[A-Z_]+)`", CLI_PAGE, re.MULTILINE))
    assert named <= settings


@every_current_page
def test_every_setting_that_a_page_names_exists(page):
    settings = {f"UNDEGRADE_{field.upper()}" for field in Settings.model_fields}
    assert set(re.findall(r"UNDEGRADE_[A-Z]+(?:_[A-Z]+)*", page.read_text())) <= settings


@every_current_page
def test_every_make_target_that_is_named_exists(page):
    targets = set(re.findall(r"^([a-z.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z.-]+)(?=\s|$)", code(page.read_text()), re.MULTILINE)) <= targets


@pytest.mark.parametrize("exit_code", ["0", "1", "2", "3", "4", "5", "130"])
def test_every_exit_code_is_documented(exit_code):
    assert re.search(rf"^\| {exit_code} \|", CLI_PAGE, re.MULTILINE)


# Links and paths


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every_page
def test_every_relative_link_resolves(page):
    targets = re.findall(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"", prose(page.read_text()))
    local = [link or picture for link, picture in targets if not re.match(r"[a-z]+:", link or picture)]
    missing = []
    for target in local:
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(target)
    assert not missing


@every_current_page
def test_every_file_that_a_page_names_exists(page):
    words = re.findall(rf"(?<![\w./-])(?:{'|'.join(ROOMS)})/[\w./-]*\w/?", code(page.read_text()))
    named = {word for word in words if not re.search(r"[A-Z]{3}", word)}  # TASK/lq/NAME stands for a name
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


@every_current_page
def test_every_module_that_a_page_runs_exists(page):
    modules = set(re.findall(r"python -m ((?:models|cli)[\w.]*)", page.read_text()))
    paths = {name: ROOT / name.replace(".", "/") for name in modules}
    assert not [
        name
        for name, path in paths.items()
        if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists())
    ]


# Words

BRITISH = re.compile(r"\b\w*(?:colour|licence|behaviour|neighbour|cancelled|cancelling|grey|favour|centre)\w*\b", re.I)


@every_current_page
def test_a_page_is_in_american_spelling(page):
    assert not BRITISH.findall(page.read_text())


def test_public_names_are_in_american_spelling():
    names = [*COMMANDS, *(name for command in COMMANDS.values() for name in options(command)), *Settings.model_fields]
    names += [*routes(), json.dumps(service().openapi())]
    assert not [found for name in names for found in BRITISH.findall(name)]


# The README


def test_the_readme_fits_two_screens():
    lines = README.splitlines()
    assert len(lines) <= 85
    assert not [line for line in lines if len(line) > 100]


@pytest.mark.parametrize("name", [entry.name for entry in DEGRADATIONS])
def test_the_readme_names_every_degradation_that_can_be_asked_for(name):
    assert f"`{name}`" in README


def test_the_page_and_the_help_list_every_exit_code_and_no_other():
    table = CLI_PAGE.partition("\n## Exit codes\n")[2]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(ExitCode) == set(EXIT_CODES)


@pytest.mark.parametrize(("bundle", "column"), [("autodir-small", 3), ("daclip-small", 4)])
def test_the_readme_says_which_degradations_a_shipped_bundle_repairs(bundle, column):
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| `.*\|$", README, re.M)]
    manifest = json.loads((ROOT / "models" / "bundles" / bundle / "bundle.json").read_text())
    repaired = {entry["name"] for entry in manifest["degradations"]} - {"clean"}
    assert {row[0].strip("`") for row in rows if row[column] == "yes"} == repaired


# The service

RECIPES = sorted((ROOT / "examples" / "recipes").iterdir())
WITHOUT_REQUESTS = ("folder.py", "webhook_receiver.mjs")
"""Recipes that use the client, or receive requests."""


def service():
    """The service, which needs no Redis to be made."""
    return create_app(ServiceSettings(redis_url="redis://127.0.0.1:1", store_url="memory://"))


def routes() -> list[str]:
    """The paths of the service."""
    return list(service().openapi()["paths"])


def requested_paths(text: str) -> set[str]:
    """The paths that a recipe or a page requests from a service; filled-in parts become an X."""
    filled = re.sub(r"\$\{?[\w.]+\}?|\{[^{}\s]*\}", lambda word: word[0] if "url" in word[0].lower() else "X", text)
    found = re.findall(r"(?:\$\{?(?:url|API)\}?|127\.0\.0\.1:8000|[\s(]f?\")(/[a-z]+[\w/.-]*)", filled)
    return {path.rstrip(".") for path in found}


def unknown_paths(text: str) -> list[str]:
    """The requested paths that no route answers."""
    known = [re.compile(re.sub(r"\{\w+\}", "[^/]+", route)) for route in [*routes(), "/docs", "/openapi.json"]]
    return [path for path in requested_paths(text) if not any(route.fullmatch(path) for route in known)]


def test_the_paths_of_a_recipe_are_found():
    text = '"$url/jobs/$job/result" `${url}/jobs/${job.id}?wait=30` get(f"/jobs/{job}/events") post("/restore")'
    assert requested_paths(text) == {"/jobs/X/result", "/jobs/X", "/jobs/X/events", "/restore"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_requests_routes_that_exist(recipe):
    assert "/restore" in requested_paths(recipe.read_text()) or recipe.name in WITHOUT_REQUESTS
    assert not unknown_paths(recipe.read_text())


def test_the_curl_of_the_readme_requests_a_route_that_exists():
    assert "/restore" in requested_paths(README)
    assert not unknown_paths(README)


def test_the_reference_has_every_route_and_no_other():
    page = (ROOT / "docs" / "api-reference.md").read_text()
    assert set(re.findall(r"^### `[A-Z]+ (/[^`]+)`$", page, re.MULTILINE)) == set(routes())
