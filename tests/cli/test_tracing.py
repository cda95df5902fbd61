"""The OTEL_* variables of the long-running commands."""

import pytest

from cli.exit_codes import ExitCode

NOBODY = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("words", [("api", "--port", "0"), ("worker",), ("serve", "--port", "0")])
def test_a_variable_that_cannot_be_honored_ends_the_command_with_what_to_do(undegrade, monkeypatch, words, tmp_path):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:zebra@collector:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("UNDEGRADE_DATA", str(tmp_path))
    monkeypatch.setenv("UNDEGRADE_REDIS_URL", NOBODY)
    result = undegrade(*words)
    assert result.code == ExitCode.USAGE
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc, expected http/protobuf" in result.err and "4318" in result.err
    assert "zebra" not in result.err


def test_an_access_log_that_is_neither_on_nor_off_nor_all_is_refused(undegrade, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_ACCESS_LOG", "maybe")
    result = undegrade("models", "list")
    assert result.code == ExitCode.USAGE and "UNDEGRADE_ACCESS_LOG=maybe" in result.err
