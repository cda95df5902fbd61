"""Makes a tracer from the standard OTEL_* variables of the environment."""

import os
from collections.abc import Mapping

from jobs.errors import TracingError
from jobs.tracing.spans import NO_TRACER, Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
INSTALL = "Install them with `pip install 'undegrade[tracing]'`, or unset the variable."


def open_tracer(service: str, version: str, environ: Mapping[str, str] = os.environ) -> Tracer:
    """Returns the tracer of a process that calls itself `service`; one that does nothing unless an endpoint is set.

    Raises:
        TracingError: the packages are missing, or a variable asks for what this exporter cannot do.
    """
    endpoint = next((name for name in ENDPOINTS if environ.get(name, "").strip()), None)
    if endpoint is None or _switched_off(environ):
        return NO_TRACER
    if not environ[endpoint].strip().startswith(("http://", "https://")):
        raise TracingError(f"{endpoint}: expected a URL that starts with http:// or https://")
    _check(environ, ("OTEL_TRACES_EXPORTER",), "otlp")
    _check(environ, PROTOCOLS, PROTOCOL)
    try:
        from jobs.tracing.otel import OtelTracer
    except ImportError as error:
        raise TracingError(f"{endpoint} is set, and the OpenTelemetry packages are not installed. {INSTALL}") from error
    try:
        return OtelTracer(service, version)
    except ValueError as error:  # such as a queue of no spans
        raise TracingError(f"the OTEL_* variables cannot be used: {error}") from error


def _switched_off(environ: Mapping[str, str]) -> bool:
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"


def _check(environ: Mapping[str, str], names: tuple[str, ...], expected: str) -> None:
    """Check the first of these variables that is set."""
    for name in names:
        value = environ.get(name, "").strip().lower()
        if value and value != expected:
            hint = "send traces to a collector with an OTLP/HTTP receiver (port 4318)"
            raise TracingError(f"got {name}={value[:40]}, expected {expected}; {hint}")
        if value:
            return
