"""The log format of the long-running commands and of the engine child: one JSON object per line, in printable ASCII."""

import json
import logging
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any


def json_text(value: object, indent: int | None = None, default: Callable[[object], object] | None = None) -> str:
    """Returns JSON in printable ASCII; `default` converts values that JSON does not have."""
    return json.dumps(value, indent=indent, default=default).replace("\x7f", "\\u007f")


class JsonFormatter(logging.Formatter):
    """Formats the records of libraries as our own events are formatted."""

    def format(self, record: logging.LogRecord) -> str:
        row = {
            "event": record.getMessage(), "logger": record.name, "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }  # fmt: skip
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        return json_text(row)


def log_as_json() -> None:
    """Write log events to stderr, one JSON object per line."""
    import structlog  # only now: every command uses `json_text`, and few have a log

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _without_nothing,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_serialized),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # the stderr of that moment
    )


def _without_nothing(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out the fields that are None: there is no key, no trace, no failure."""
    return {name: value for name, value in event.items() if value is not None}


def _serialized(event: object, **options: object) -> str:
    """Returns the JSON of an event; a value of any other type is shown as its repr, as structlog does."""
    return json_text(event, default=repr)
