"""The documentation agrees with the program: commands, options, defaults, settings, limits, routes and links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from cli.console import EXIT_CODES, ExitCode
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
HELP_ALONE = {"--help", "--install-completion", "--show-completion"}


def commands(command: click.Command, path: str = "undegrade") -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups included."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app)))


def options(command: click.Command) -> set[str]:
    """The long options of a command."""
    spelled = {opt for parameter in command.params for opt in (*parameter.opts, *parameter.secondary_opts)}
    return {opt for opt in spelled if opt.startswith("--")} - HELP_ALONE


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
    largest = f"{limits.pixels / 1e6:g} megapixels or {limits.file_bytes / 2**20:g} MiB"
    assert largest in " ".join(CLI_PAGE.split())


def examples() -> list[str]:
    """The lines of code blocks that call the command."""
    blocks = re.findall(
        r"^```[a-z]*\n(.*?)^```", "\n".join(page.read_text() for page in PAGES), re.MULTILINE | re.DOTALL
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
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
    assert given - HELP_ALONE - {"--version"} <= options(COMMANDS[name])


def test_every_setting_is_documented_and_every_documented_setting_exists():
    source = "\n".join(path.read_text() for room in ("models", "cli") for path in (ROOT / room).rglob("*.py"))
    known = {f"UNDEGRADE_{field.upper()}" for field in Settings.model_fields}
    named = set(re.findall(r"UNDEGRADE_[A-Z]+(?:_[A-Z]+)*", source))
    assert known == set(re.findall(r"^\| `(UNDEGRADE_[A-Z_]+)`", CLI_PAGE, re.MULTILINE))
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page):
    targets = re.findall(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"", page.read_text())
    local = [link or picture for link, picture in targets if not re.match(r"[a-z]+:|#", link or picture)]
    missing = [target for target in local if not (page.parent / target.partition("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_that_is_named_exists(page):
    targets = set(re.findall(r"^([a-z.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z.-]+)(?=[`\s])", _code((ROOT / page).read_text()))) <= targets


def _code(text: str) -> str:
    return "\n".join(re.findall(r"^```[a-z]*\n.*?^```|`[^`\n]+`", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", [entry.name for entry in DEGRADATIONS])
def test_the_readme_names_every_degradation_that_can_be_asked_for(name):
    assert f"`{name}`" in README


def test_the_page_and_the_help_list_every_exit_code_and_no_other():
    table = CLI_PAGE.partition("\n## Exit codes\n")[2]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(ExitCode) == set(EXIT_CODES)


RECIPES = sorted((ROOT / "examples" / "recipes").iterdir())


def routes() -> list[str]:
    """The paths of the service, which needs no Redis to be made."""
    app = create_app(ServiceSettings(redis_url="redis://127.0.0.1:1", store_url="memory://"))
    return list(app.openapi()["paths"])


def asked_for(text: str) -> set[str]:
    """The paths that a recipe or a page asks a service for; whatever is filled in is an X."""
    filled = re.sub(r"\$\{?[\w.]+\}?|\{[^{}\s]*\}", lambda word: word[0] if "url" in word[0].lower() else "X", text)
    found = re.findall(r"(?:\$\{?(?:url|API)\}?|127\.0\.0\.1:8000|[\s(]f?\")(/[a-z]+[\w/.-]*)", filled)
    return {path.rstrip(".") for path in found}


def test_the_paths_of_a_recipe_are_found():
    text = '"$url/jobs/$job/result" `${url}/jobs/${job.id}?wait=30` get(f"/jobs/{job}/events") post("/restore")'
    assert asked_for(text) == {"/jobs/X/result", "/jobs/X", "/jobs/X/events", "/restore"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_asks_for_routes_that_exist(recipe):
    known = [re.compile(re.sub(r"\{\w+\}", "[^/]+", route)) for route in routes()]
    asked = asked_for(recipe.read_text())
    assert "/restore" in asked
    assert not [path for path in asked if not any(route.fullmatch(path) for route in known)]


def test_the_api_page_lists_every_route_and_no_other():
    page = (ROOT / "docs" / "api.md").read_text()
    listed = set(re.findall(r"^\| `[A-Z]+ (/[^`]+)`", page, re.MULTILINE))
    assert {re.sub(r"\{\w+\}", "X", path) for path in listed} == {re.sub(r"\{\w+\}", "X", path) for path in routes()}
