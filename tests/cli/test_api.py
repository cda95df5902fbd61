"""The settings that `undegrade api` hands to the service."""

import pytest

from cli.api import service_settings
from cli.settings import Settings
from service.settings import ServiceSettings


@pytest.fixture
def env(workplace):
    """Settings without UNDEGRADE_ variables."""
    return Settings()


def test_the_defaults_are_those_of_the_service(env):
    assert service_settings(env) == ServiceSettings(redis_url=env.redis_url, store_url=env.store_url)


def test_megabytes_are_millions_of_bytes(env, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_MAX_MEGABYTES", "1.5")
    assert service_settings(Settings()).max_bytes == 1_500_000
    assert service_settings(env).max_bytes == 30_000_000


def test_options_override_settings_and_none_does_not(env):
    service = service_settings(env, port=0, host=None)
    assert (service.port, service.host) == (0, env.host)


def test_quotas_of_the_settings_reach_the_service(env, monkeypatch):
    assert service_settings(env).quotas == {}
    monkeypatch.setenv("UNDEGRADE_QUOTA_REQUESTS", " 10/S ")
    monkeypatch.setenv("UNDEGRADE_QUOTA_BURST", "30")
    monkeypatch.setenv("UNDEGRADE_QUOTA_MEGAPIXELS", "5000/day")
    expected = {"requests": "10/s", "burst": "30", "megapixels": "5000/day"}
    assert service_settings(Settings()).quotas == expected


@pytest.mark.parametrize(("name", "value"), [
    ("QUOTA_JOBS", "many"), ("QUOTA_BURST", "3"), ("QUOTA_REQUESTS", "10"), ("UNIX_SOCKET_MODE", "rw"),
    ("TRUSTED_PROXIES", "nginx"),
])  # fmt: skip
def test_a_setting_that_cannot_be_read_is_a_usage_error_that_names_it(undegrade, monkeypatch, name, value):
    monkeypatch.setenv(f"UNDEGRADE_{name}", value)
    result = undegrade("keys", "list")
    assert result.code == 2 and f"UNDEGRADE_{name}" in result.err and "Traceback" not in result.err
