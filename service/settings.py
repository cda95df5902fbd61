"""The settings of one API process.  The command line reads them once and passes them on.

The defaults are the program's only statement of these limits: `cli.settings`, `/limits` and docs/ repeat them, and
tests/service/test_documented_limits.py compares.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Auth = Literal["on", "off", "auto"]

MEGABYTE = 10**6
"""Bytes.  An upload limit of 30 MB is 30,000,000 bytes everywhere."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The settings of one API process.

    Attributes:
        max_bytes: of an upload's image.
        max_megapixels: of an upload's image.
        max_queued: jobs in the queue of a bundle; the service refuses more and stores nothing of them.
        max_stored_bytes: of all images in the store, inputs and results; the service refuses uploads beyond it.
        max_stored_bytes_per_key: the same for the jobs of one API key.
        embedded_redis_folder: the data folder of an embedded Valkey, None for another Redis.  Its disk must not fill
            up, and its file is rewritten after deletions.
        keep_s: how long results and records stay after a job's end.
        auth: "auto" requires a key once any key exists, and then for as long as the process lives.
        max_waits: open long polls and event streams of one API key, or of all callers together without keys.
        metrics_port: None serves no metrics; 0 takes any free port.
        keepalive_s: seconds between comments on an event stream without events.
    """

    redis_url: str
    store_url: str
    bundle: str = "autodir-small"
    max_bytes: int = 30 * MEGABYTE
    max_megapixels: float = 50.0
    max_queued: int = 1000
    max_stored_bytes: int = 100_000 * MEGABYTE
    max_stored_bytes_per_key: int = 25_000 * MEGABYTE
    embedded_redis_folder: Path | None = None
    keep_s: int = 24 * 3600
    auth: Auth = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    metrics_port: int | None = None
    max_waits: int = 1000
    keepalive_s: float = 15.0
