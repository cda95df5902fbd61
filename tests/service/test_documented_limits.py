"""Each limit is one number: settings, API, docs and worker repeat the defaults of ServiceSettings."""

import re
from pathlib import Path

import pytest

from cli.api import service_settings
from cli.settings import Settings
from jobs.spec import JobSpec
from models.photo.read import Limits as PhotoLimits
from service.app import create_app
from service.control_bounds import control_bounds
from service.image_header import MAX_SIDE_PX
from service.negotiation import MAX_WAIT_S
from service.request_fields import FIELDS, MAX_DEADLINE_S
from service.routes.about import Limits
from service.routes.restore import DETECT_WAIT_S
from service.settings import MEGABYTE, ServiceSettings

DOCS = Path(__file__).parents[2] / "docs"
API_PAGE, CLI_PAGE = (DOCS / "api.md").read_text(), (DOCS / "cli.md").read_text()
DEFAULTS = ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")
LIMITS = {
    "max_bytes": DEFAULTS.max_bytes,
    "max_megapixels": DEFAULTS.max_megapixels,
    "max_side_px": MAX_SIDE_PX,
    "max_queued": DEFAULTS.max_queued,
    "max_batch_images": DEFAULTS.max_batch_images,
    "max_batch_bytes": DEFAULTS.max_batch_bytes,
    "max_wait_s": MAX_WAIT_S,
    "max_deadline_s": MAX_DEADLINE_S,
    "keep_s": DEFAULTS.keep_s,
}
OPENAPI = create_app(DEFAULTS).openapi()


def row(page: str, name: str) -> list[str]:
    """The cells of a table row, without its first."""
    found = re.search(rf"^\| `{name}` \|(.*)\|$", page, re.MULTILINE)
    assert found, f"the page has no row `{name}`"
    return [cell.strip() for cell in found[1].split("|")]


def number(cell: str) -> float:
    return float(cell.split()[0])


def test_limits_returns_these_limits():
    assert set(Limits.model_fields) == {
        *LIMITS, "formats", "lanes", "image_url", "uploads", "presets", "controls", "caller"
    }  # fmt: skip


def test_the_example_of_limits_in_the_openapi_document_has_the_defaults():
    content = OPENAPI["paths"]["/limits"]["get"]["responses"]["200"]["content"]["application/json"]
    assert content["examples"]["limits"]["value"].items() >= LIMITS.items()


@pytest.mark.parametrize("name", LIMITS)
def test_the_api_page_states_each_limit(name):
    assert number(row(API_PAGE, name)[0]) == LIMITS[name]


def test_a_megabyte_is_decimal_everywhere():
    assert DEFAULTS.max_bytes == 30 * MEGABYTE == 30_000_000
    assert f"({DEFAULTS.max_bytes // MEGABYTE} MB)" in row(API_PAGE, "max_bytes")[0]
    assert f"the limit is {DEFAULTS.max_bytes:,}" in API_PAGE
    assert "MB (1,000,000 bytes)" in row(CLI_PAGE, "UNDEGRADE_MAX_MEGABYTES")[1]


@pytest.mark.parametrize("name", ["max_queued", "max_megapixels", "max_megabytes", "keep_s"])
def test_the_command_line_page_states_the_default_of_each_limit(name):
    assert number(row(CLI_PAGE, f"UNDEGRADE_{name.upper()}")[0]) == Settings.model_fields[name].default


def test_without_settings_the_command_line_starts_the_service_with_its_defaults(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"UNDEGRADE_{name.upper()}", raising=False)
    settings = Settings()
    assert service_settings(settings) == ServiceSettings(redis_url=settings.redis_url, store_url=settings.store_url)


def test_a_worker_decodes_every_image_that_the_service_accepts():
    assert PhotoLimits().pixels == DEFAULTS.max_megapixels * 10**6
    assert PhotoLimits().file_bytes >= DEFAULTS.max_bytes


def test_jobs_are_kept_as_long_as_the_job_spec_says():
    assert JobSpec.model_fields["keep_s"].default == DEFAULTS.keep_s


def test_the_page_states_waits_and_pages():
    assert f"after {MAX_WAIT_S} s" in API_PAGE and f"within {DETECT_WAIT_S} s" in API_PAGE
    assert f"up to N seconds, 1 to {MAX_WAIT_S}," in API_PAGE and f"waits {MAX_WAIT_S} s unless" in API_PAGE
    parameters = {entry["name"]: entry["schema"] for entry in OPENAPI["paths"]["/jobs"]["get"]["parameters"]}
    limit = parameters["limit"]
    assert f"`limit` ({limit['minimum']} to {limit['maximum']}, default {limit['default']})" in API_PAGE
    assert f"{DEFAULTS.max_waits} long polls" in API_PAGE and f"every {DEFAULTS.keepalive_s:g} s" in API_PAGE


RANGES = {
    "strength": "0 to 1", "fidelity": "0 to 1", "max_passes": "1 to 100", "steps": "1 to 1000", "quality": "1 to 100",
    "seed": "0 to 2^63 - 1", "prompt": "up to 1000", "only": "up to 32", "skip": "up to 32",
    "deadline_s": "more than 0, up to 604800", "variants": "1 to 4",
}  # fmt: skip


def constraints(name: str) -> str:
    """The range of a field in the words of the page."""
    if name in ("strength", "variants"):
        return f"{control_bounds()[name].min} to {control_bounds()[name].max}"
    limits = {}
    for constraint in FIELDS["restore"].model_fields[name].metadata:
        for key in ("ge", "gt", "le", "lt", "max_length"):
            if (value := getattr(constraint, key, None)) is not None:
                limits[key] = value
    if "max_length" in limits:
        return f"up to {limits['max_length']}"
    if "gt" in limits:
        return f"more than {limits['gt']}, up to {limits['le']:g}"
    return f"{limits['ge']} to {'2^63 - 1' if limits.get('lt') == 2**63 else limits['le']}"


@pytest.mark.parametrize("name", RANGES)
def test_the_page_states_the_range_of_each_field(name):
    assert constraints(name) == RANGES[name]
    assert row(API_PAGE, name)[0].startswith(RANGES[name])


@pytest.mark.parametrize(("name", "text"), [("strength", "1"), ("color_fix", "false"), ("metadata", "true")])
def test_the_page_states_the_default_of_each_field(name, text):
    assert row(API_PAGE, name)[1] == text
    assert FIELDS["restore"].model_fields[name].default == {"1": 1, "false": False, "true": True}[text]
