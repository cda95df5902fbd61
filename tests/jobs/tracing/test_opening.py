"""When traces are exported, what the OTEL_* variables do, and that no collector can hold up a process."""

import os
import subprocess
import sys

import pytest
from otlp_receiver import receiving

from jobs.errors import TracingError
from jobs.tracing.opening import open_tracer
from jobs.tracing.spans import NO_SPAN, NO_TRACER, NoSpan

SPANS = """
from jobs.tracing.opening import open_tracer
tracer = open_tracer("undegrade-test", "1.2")
for number in range({count}):
    span = tracer.start("parent", None, attributes={{"number": number}})
    span.child("child").end()
    span.end()
tracer.close()
"""
IMPORTS = """
import sys
from jobs.tracing.opening import open_tracer
import {module}
open_tracer("undegrade-test", "1.2")
ours = ("jobs.tracing.otel", "opentelemetry.exporter", "opentelemetry.proto", "opentelemetry.sdk.trace")
print(*[name for name in sys.modules if name.startswith(ours)])
"""
MISSING = """
import sys
sys.modules["opentelemetry.sdk"] = None  # as if it were not installed
from jobs.tracing.opening import open_tracer
open_tracer("undegrade-test", "1.2")
"""


def run(script, timeout=120, **variables):
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | variables
    return subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )  # fmt: skip


@pytest.mark.parametrize("variables", [
    {}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_SERVICE_NAME": "a"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
])  # fmt: skip
def test_tracing_is_off_without_an_endpoint_or_when_it_is_switched_off(variables):
    assert open_tracer("s", "1", variables) is NO_TRACER


def test_a_tracer_that_is_off_passes_the_context_on():
    assert NO_TRACER.start("a", None).child("b") is NO_SPAN
    context = object()
    assert NO_TRACER.start("a", context).child("b").context is context and isinstance(NO_SPAN, NoSpan)


@pytest.mark.parametrize("module", ["worker.supervisor", "service.app", "cli.main"])
def test_without_an_endpoint_no_exporter_is_imported(module):
    """FastAPI and redis-py import parts of OpenTelemetry themselves, where it is installed."""
    done = run(IMPORTS.format(module=module))
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_missing_packages_are_named_with_the_command_that_installs_them():
    done = run(MISSING, OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318")
    assert done.returncode == 1
    assert "TracingError: OTEL_EXPORTER_OTLP_ENDPOINT is set" in done.stderr
    assert "pip install 'undegrade[tracing]'" in done.stderr
    assert run(MISSING).returncode == 0, "without an endpoint the packages are not needed"


@pytest.mark.parametrize(("variable", "value"), [
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
])  # fmt: skip
def test_a_variable_that_asks_for_what_cannot_be_done_is_refused_with_its_name(variable, value, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@c:4318")
    monkeypatch.setenv(variable, value)
    with pytest.raises(TracingError) as error:
        open_tracer("s", "1")
    assert "OTEL_" in str(error.value) and "secret" not in str(error.value)


def test_the_standard_variables_are_honored():
    with receiving() as receiver:
        done = run(
            SPANS.format(count=1), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_SERVICE_NAME="photos",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test,service.version=9",
            OTEL_EXPORTER_OTLP_HEADERS="x-token=t1", OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert receiver.headers[0]["x-token"] == "t1" and receiver.headers[0]["content-encoding"] == "gzip"
    child, parent = sorted(receiver.spans, key=lambda span: span.name)
    assert (child.parent, child.trace) == (parent.id, parent.trace) and child.within(parent)
    resource = parent.resource
    assert (resource["service.name"], resource["service.version"]) == ("photos", "9")
    assert resource["deployment.environment"] == "test" and resource["telemetry.sdk.name"] == "opentelemetry"


def test_the_sampler_of_the_environment_decides():
    with receiving() as receiver:
        run(SPANS.format(count=5), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_TRACES_SAMPLER="always_off")
        assert not receiver.spans
        run(SPANS.format(count=5), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint)
    assert len(receiver.spans) == 10


@pytest.mark.parametrize("behavior", ["hang", "refuse", "nobody"])
def test_no_collector_holds_up_the_work_or_the_end_of_a_process(behavior):
    """The exporter may wait for ten minutes, and there are five times as many spans as its queue holds."""
    with receiving("refuse" if behavior == "nobody" else behavior) as receiver:
        endpoint = "http://127.0.0.1:9" if behavior == "nobody" else receiver.endpoint
        done = run(
            SPANS.format(count=5000), timeout=100, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_TIMEOUT="600", OTEL_BSP_EXPORT_TIMEOUT="600000",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") <= 2, "a collector that is away does not fill the log"
