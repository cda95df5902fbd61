"""The tracer of a long-running command, from the standard OTEL_* variables."""

from importlib.metadata import version

from jobs.errors import TracingError
from jobs.tracing.opening import open_tracer
from jobs.tracing.spans import Tracer
from models.errors import ControlsError


def process_tracer(service: str) -> Tracer:
    """Returns the tracer of this process; it does nothing unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

    Raises:
        ControlsError: tracing is asked for and cannot work; the message says what to do.
    """
    try:
        return open_tracer(service, version("undegrade"))
    except TracingError as error:
        raise ControlsError(str(error)) from error
