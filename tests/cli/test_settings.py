"""The settings of the command, from environment variables."""

import numpy as np
import pytest
from PIL import Image

from cli.api import service_settings
from cli.exit_codes import ExitCode
from cli.settings import Settings


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", (None,)),
        ("daclip-small", ("daclip-small",)),
        ("autodir-small, daclip-small", ("autodir-small", "daclip-small")),
        (" , /bundles/mine,", ("/bundles/mine",)),
    ],
)
def test_several_bundles_are_separated_by_commas_and_the_first_is_the_default(monkeypatch, value, names):
    monkeypatch.setenv("UNDEGRADE_BUNDLE", value)
    assert Settings().bundle_names == names
    assert Settings().default_bundle == names[0]


@pytest.mark.parametrize("words", [("models", "show"), ("evaluate", "nothing", "--out", "rows")])
def test_a_command_for_one_bundle_uses_the_first(monkeypatch, undegrade, tmp_path, words):
    monkeypatch.setenv("UNDEGRADE_BUNDLE", "missing-one,missing-two")
    (tmp_path / "eval/denoise/lq").mkdir(parents=True)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "eval/denoise/lq/a.png")
    result = undegrade(*(tmp_path / "eval" if word == "nothing" else word for word in words))
    assert result.code == ExitCode.MODEL and "missing-one" in result.err and "missing-two" not in result.err


@pytest.mark.parametrize("value", ["abc", "0", "-1"])
def test_an_invalid_setting_is_reported_with_its_name(undegrade, monkeypatch, value):
    monkeypatch.setenv("UNDEGRADE_THREADS", value)
    result = undegrade("models", "list")
    assert result.code == 2
    assert f"UNDEGRADE_THREADS={value}" in result.err


def test_an_unknown_setting_causes_a_warning_with_the_nearest_name(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVCE", "cpu")
    result = with_bundle("models", "verify")
    assert result.code == 0
    assert "UNDEGRADE_DEVCE is not a setting; did you mean UNDEGRADE_DEVICE?" in result.err


def test_options_override_settings(with_bundle, photo, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cuda:99")
    assert with_bundle("detect", photo("a.png")).code == 4
    assert with_bundle("detect", "a.png", "--device", "cpu").code == 0


NUMBERS = "DEVICE_MEMORY_GIB THREADS PORT METRICS_PORT MAX_BATCH MAX_QUEUED MAX_MEGAPIXELS MAX_MEGABYTES KEEP_S GRACE_S"


@pytest.mark.parametrize("name", NUMBERS.split())
@pytest.mark.parametrize("number", ["-1", "inf", "9" * 30])
def test_a_number_that_nothing_can_mean_is_refused_with_its_name(undegrade, monkeypatch, name, number):
    monkeypatch.setenv(f"UNDEGRADE_{name}", number)
    result = undegrade("models", "list")
    assert result.code == 2
    assert f"UNDEGRADE_{name}" in result.err
    assert "bug" not in result.err


@pytest.mark.parametrize(("name", "value"), [
    ("ALLOWED_ORIGINS", "photos.example"), ("ALLOWED_ORIGINS", "https://a.example/path"), ("ROOT_PATH", "ai"),
    ("ROOT_PATH", "/ai/"), ("ROOT_PATH", "/a/../b"), ("TRUSTED_PROXIES", "proxy"), ("TRUSTED_PROXIES", "10.0.0.0/99"),
    ("ALLOWED_HOSTS", "https://a.example"), ("IDLE_S", "0"), ("HEAD_S", "-1"), ("STALL_S", "x"),
    ("IMAGE_URL_HOSTS", "https://a.example/path"), ("IMAGE_URL_HOSTS", "10.0.0.7"), ("IMAGE_URL_HOSTS", "a..b"),
])  # fmt: skip
def test_an_invalid_network_setting_is_reported_with_its_name(undegrade, monkeypatch, name, value):
    monkeypatch.setenv(f"UNDEGRADE_{name}", value)
    result = undegrade("models", "list")
    assert result.code == 2 and f"UNDEGRADE_{name}={value}" in result.err


def test_network_settings_reach_the_service(monkeypatch):
    given = {"ALLOWED_HOSTS": "a.example, b.example", "ALLOWED_ORIGINS": "https://a.example:8443", "ROOT_PATH": "/ai",
             "TRUSTED_PROXIES": "10.0.0.0/8,::1", "IDLE_S": "90",
             "IMAGE_URL_HOSTS": "*.a.example, b.example"}  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"UNDEGRADE_{name}", value)
    service = service_settings(Settings())
    assert service.allowed_hosts == ("a.example", "b.example") and service.root_path == "/ai" and service.idle_s == 90
    assert service.image_url_hosts == ("*.a.example", "b.example")
    assert service.allowed_origins == ("https://a.example:8443",) and service.trusted_proxies == ("10.0.0.0/8", "::1")
