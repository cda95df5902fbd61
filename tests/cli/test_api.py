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
