"""The settings of one API process.  The command line reads them once and passes them on.

The defaults are the program's only statement of these limits: `cli.settings`, `/limits` and docs/ repeat them, and
tests/service/test_documented_limits.py compares.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from jobs.replication import Replication
from service.outgoing.host_rules import check_host_entry

Auth = Literal["on", "off", "auto"]
AccessLog = Literal["on", "off", "all"]

MEGABYTE = 10**6
"""Bytes.  An upload limit of 30 MB is 30,000,000 bytes everywhere."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The settings of one API process.

    Attributes:
        max_bytes: of an upload's image.
        max_megapixels: of an upload's image.
        max_queued: jobs in the queue of a bundle; the service refuses more and stores nothing of them.
        max_batch_images: of one batch.
        max_batch_bytes: of the body of a batch.
        max_stored_bytes: of all images in the store, inputs and results; the service refuses uploads beyond it.
        max_stored_bytes_per_key: the same for the jobs of one API key.
        embedded_redis_folder: the data folder of an embedded Valkey, None for another Redis.  Its disk must not fill
            up, and its file is rewritten after deletions.
        keep_s: how long results and records stay after a job's end.
        auth: "auto" requires a key once any key exists, and then for as long as the process lives.
        max_waits: open long polls and event streams of one API key, or of all callers together without keys.
        metrics_port: None serves no metrics; 0 takes any free port.
        keepalive_s: seconds between comments on an event stream without events.
        idle_s: how long a connection without a request stays open; longer than the idle time of the balancer before it.
        head_s: how long a request's line and headers may take.
        stall_s: an upload or download that hardly moves for so long is dropped.
        allowed_hosts: further names in `Host` under which the service is reached.
        allowed_origins: origins whose web pages may use the service (CORS); "*" for all.
        image_url_hosts: hosts from which `image_url` may fetch, as `HostRules.hosts`; none: it is off.
        quotas: by name, the quotas (jobs.quotas) of keys without their own, and of all callers without a key together.
        trusted_proxies: addresses or networks whose `X-Forwarded-*` and `Forwarded` headers count; "unix" for clients
            of the Unix socket, "*" for all.
        unix_socket: listen on this socket instead of host and port.
        root_path: the path under which a proxy serves the service, such as "/ai".
        webhook_hosts, result_hosts: hosts and origins that `webhook_url` and `result_url` may name
            (service/outgoing/host_rules.py); empty switches the field off.
        url_ports: ports of these hosts, where they are not named as an origin.
        page: whether `/` is the page for people; without it, `/` is 404.
        access_log: which requests are logged: "on" leaves out health checks that succeed, "all" does not.
        redis_wait_replicas: replicas of Redis that must have a job before it is accepted.
        redis_wait_s: how long they may take.
    """

    redis_url: str
    store_url: str
    bundle: str = "autodir-small"
    max_bytes: int = 30 * MEGABYTE
    max_megapixels: float = 50.0
    max_queued: int = 1000
    max_batch_images: int = 200
    max_batch_bytes: int = 1000 * MEGABYTE
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
    idle_s: int = 75
    head_s: float = 20.0
    stall_s: float = 30.0
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    image_url_hosts: tuple[str, ...] = ()
    quotas: Mapping[str, str] = field(default_factory=dict)
    trusted_proxies: tuple[str, ...] = ()
    unix_socket: Path | None = None
    root_path: str = ""
    webhook_hosts: tuple[str, ...] = ()
    result_hosts: tuple[str, ...] = ()
    url_ports: tuple[int, ...] = (443,)
    page: bool = True
    access_log: AccessLog = "on"
    redis_wait_replicas: int = Replication.replicas
    redis_wait_s: float = Replication.wait_s

    @property
    def replication(self) -> Replication:
        return Replication(replicas=self.redis_wait_replicas, wait_s=self.redis_wait_s)


UNIX_PEER = "unix"
"""The address of every client of the Unix socket."""


def check_network_setting(name: str, entry: str) -> None:
    """Check one entry of the hosts, origins, proxies and the root path, or of the settings for the URLs of callers.

    Raises:
        ValueError: it has another form; the message says which.
    """
    if name in ("image_url_hosts", "webhook_hosts", "result_hosts"):
        check_host_entry(entry)
        return
    if name == "url_ports":
        if not (entry.isascii() and entry.isdigit() and 0 < int(entry) < 2**16):
            raise ValueError("expected ports from 1 to 65535")
        return
    if name == "trusted_proxies":
        if entry not in ("*", UNIX_PEER):
            ip_network(entry, strict=False)
        return
    pattern, form = _FORMS[name]
    if not re.fullmatch(pattern, entry):
        raise ValueError(f"expected {form}")


VALID_PREFIX = r"(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+"
"""A path of plain segments."""
_FORMS = {
    "allowed_hosts": (r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?", "names or addresses without scheme, port and path"),
    "allowed_origins": (r"\*|https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?", "*, or https://HOST"),
    "root_path": (VALID_PREFIX, "a path such as /ai, without a slash at the end"),
}
