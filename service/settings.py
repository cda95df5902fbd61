"""What the service is told at its start; read once by the command line and handed on."""

from dataclasses import dataclass
from typing import Literal

Auth = Literal["on", "off", "auto"]


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The settings of one API process.

    Attributes:
        auth: "auto" asks for a key as soon as there is one, and never stops asking while the process lives.
        most_queued: jobs in line for the bundle; more are refused, and nothing of them is kept.
        keep_s: how long results and records stay after a job's end.
        most_waits: long polls and event streams that one API key (or all callers together, without keys) may hold open.
        metrics_port: None serves no metrics; 0 takes any free port.
        keepalive_s: between comments on an event stream that has nothing else to say.
    """

    redis_url: str
    store_url: str
    bundle: str = "autodir-small"
    most_bytes: int = 30 * 10**6
    most_megapixels: float = 50.0
    most_queued: int = 1000
    keep_s: int = 24 * 3600
    auth: Auth = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    metrics_port: int | None = None
    most_waits: int = 1000
    keepalive_s: float = 15.0
