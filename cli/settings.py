"""The settings of the command: UNDEGRADE_* environment variables, read once.  Command-line options override them."""

import difflib
import os
from functools import lru_cache
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cli.unix_socket import DEFAULT_MODE, socket_mode
from jobs.quotas import FORMS, UNLIMITED, check_together, parse_quota
from jobs.replication import MAX_WAIT_S, Replication
from models.errors import ControlsError
from service.settings import AccessLog, Auth, ServiceSettings, check_network_setting

PREFIX = "UNDEGRADE_"


class Settings(BaseSettings):
    """All settings.  docs/cli.md lists them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    bundle: str | None = None
    """Name or folder of the bundle; the shipped bundle when unset.  `worker` and `serve` take several, with commas."""
    bundles: str = ""
    """Folders with bundles, separated like PATH; `models pull` writes to the first."""
    registry: str | None = None
    """Registry file of `models pull`; the shipped file when unset."""
    offline: bool = False
    """Keep `models pull` from the network."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    cuda_graphs: bool = True
    """Replay the denoiser as CUDA graphs; switch it off if a driver has problems with them."""
    compile: bool = False
    """Compile AutoDIR's denoiser with torch.compile when it is loaded; needs a compiler on the machine."""
    device_memory_gib: float | None = Field(default=None, ge=1, le=10_000)
    """Most memory of a CUDA device that this process takes, in GiB; all that is free when unset."""
    threads: int | None = Field(default=None, ge=1, le=4096)
    """CPU threads of torch; all cores when unset."""
    debug: bool = False
    """Show tracebacks instead of error messages."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """Redis of `api`, `worker`, `keys`, `workers`, `queue`, `top`; `serve` starts its own server unless this is set."""
    redis_wait_replicas: int = Field(default=ServiceSettings.redis_wait_replicas, ge=0, le=16)
    """Replicas of Redis that must have a submitted job, or a result, before it counts; see docs/deploy.md."""
    redis_wait_s: float = Field(default=ServiceSettings.redis_wait_s, ge=0.05, le=MAX_WAIT_S)
    """How long to wait for those replicas."""
    store_url: str = "redis://"
    """Where images are stored: redis://, file:///FOLDER, s3://BUCKET/PREFIX, memory:// (one process only)."""
    host: str = ServiceSettings.host
    """Address of the API, and of the metrics of API and worker."""
    port: int = Field(default=ServiceSettings.port, ge=0, le=65535)
    """Port of the API."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of /metrics; no metrics when unset."""
    auth: Auth = ServiceSettings.auth
    """Whether the API requires an API key; "auto" requires one as soon as a key exists."""
    max_batch: int | None = Field(default=None, ge=1, le=256)
    """Maximum number of images or tiles per denoising step; 8 on CUDA and 1 on a CPU when unset."""
    max_queued: int = Field(default=ServiceSettings.max_queued, ge=1, le=10**9)
    """Maximum number of queued jobs; the API answers further jobs with 503."""
    max_batch_images: int = Field(default=ServiceSettings.max_batch_images, ge=1, le=10_000)
    """Maximum number of images of a batch."""
    max_batch_megabytes: float = Field(default=ServiceSettings.max_batch_bytes / 1e6, gt=0, le=10**6)
    """Largest batch, in millions of bytes."""
    max_megapixels: float = Field(default=ServiceSettings.max_megapixels, gt=0, le=10**6)
    """Largest image."""
    max_megabytes: float = Field(default=ServiceSettings.max_bytes / 1e6, gt=0, le=10**6)
    """Largest upload, in millions of bytes."""
    max_stored_megabytes: float = Field(default=ServiceSettings.max_stored_bytes / 1e6, gt=0, le=10**9)
    """Millions of bytes of images that the store may hold, inputs and results together; the API refuses more."""
    max_stored_megabytes_per_key: float = Field(default=ServiceSettings.max_stored_bytes_per_key / 1e6, gt=0, le=10**9)
    """The same for the jobs of one API key."""
    redis_megabytes: float | None = Field(default=None, ge=16, le=10**8)
    """Memory of `serve`'s own Redis server, in millions of bytes; a quarter of the machine's memory when unset."""
    keep_s: int = Field(default=ServiceSettings.keep_s, ge=1, le=10**9)
    """How long a job and its images are kept after the job ends."""
    grace_s: float = Field(default=30.0, ge=0, le=10**6)
    """How long a worker that is told to stop continues its current jobs."""
    decode_s: float = Field(default=30.0, gt=0, le=3600)
    """How long a worker may take to decode an image; an image that takes longer fails."""
    max_running_s: float = Field(default=21_600.0, gt=0, le=30 * 24 * 3600)
    """How long a job may run; a job that runs longer fails."""
    max_jobs: int | None = Field(default=None, ge=1, le=10**9)
    """Jobs after which a worker replaces its engine process; never when unset."""
    max_rss_gib: float | None = Field(default=None, gt=0, le=10_000)
    """Resident memory of the engine process at which a worker replaces it, in GiB; never when unset."""
    allowed_hosts: str = ""
    """Further names under which clients reach the API, with commas; checked while no API key is needed."""
    allowed_origins: str = ""
    """Origins whose web pages may use the API (CORS), with commas; * for all."""
    image_url_hosts: str = ""
    """Hosts from which the API may fetch images (`image_url`), with commas; * for all public ones, none when unset."""
    quota_requests: str = ""
    """Requests of an API key, as 10/s, 600/min or 1000/h; no limit when unset.  A key may have its own quotas."""
    quota_burst: str = ""
    """Requests that a key may send at once; the number in `quota_requests` when unset."""
    quota_jobs: str = ""
    """Jobs that a key may have in line; no limit when unset."""
    quota_megapixels: str = ""
    """Megapixels that a key may submit in a day, as 5000/day; no limit when unset."""
    quota_waits: str = ""
    """Long polls and event streams that a key may hold open; no limit when unset."""
    trusted_proxies: str = ""
    """Addresses or networks of proxies whose X-Forwarded-* headers count, with commas."""
    unix_socket: str | None = None
    """Unix socket on which the API listens, instead of an address and a port."""
    unix_socket_mode: str = DEFAULT_MODE
    """Permissions of that socket, in octal digits."""
    root_path: str = ""
    """Path under which a proxy serves the API, such as /ai."""
    page: Literal["on", "off"] = "on"
    """Whether the API serves the page at /."""
    idle_s: int = Field(default=ServiceSettings.idle_s, ge=1)
    """How long the API keeps a connection without a request."""
    head_s: float = Field(default=ServiceSettings.head_s, gt=0)
    """How long the line and the headers of a request may take."""
    stall_s: float = Field(default=ServiceSettings.stall_s, gt=0)
    """How long an upload or a download may stall."""
    webhook_hosts: str = ""
    """Hosts that webhook_url may name, with commas; * for all public ones. Off when unset."""
    result_hosts: str = ""
    """The same for result_url."""
    url_ports: str = "443"
    """Ports that these URLs may have, with commas."""
    access_log: AccessLog = ServiceSettings.access_log
    """Which requests the API logs: on (health checks only if they fail), all, or off."""
    url: str | None = None
    """URL of the API for `top`; without it, `top` reads Redis."""
    api_key: str | None = None
    """API key that `top` and `restore --server` send."""
    server: str | None = None
    """URL of the API for programs with undegrade_client; `restore` sends photos away only with --server."""
    provenance: Literal["off", "xmp", "c2pa"] = "xmp"
    """How `restore` and `worker` mark results: not, in XMP, or in XMP and with a signed C2PA manifest."""
    signing_certificate: str | None = None
    """PEM file with the certificate chain that signs manifests, the leaf first."""
    signing_key: str | None = None
    """PEM file with the private key of the certificate."""
    signing_algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = "es256"
    """The algorithm of the key."""
    data: str | None = None
    """Data folder of `serve`'s own Redis server; a folder in the user's state folder when unset."""

    @field_validator(
        "allowed_hosts", "allowed_origins", "image_url_hosts", "trusted_proxies", "root_path", "webhook_hosts",
        "result_hosts", "url_ports",
    )  # fmt: skip
    @classmethod
    def _valid(cls, value: str, info: ValidationInfo) -> str:
        for entry in listed(value):
            check_network_setting(str(info.field_name), entry)
        return value.strip()

    @field_validator("unix_socket_mode")
    @classmethod
    def _valid_mode(cls, value: str) -> str:
        socket_mode(value)
        return value

    @field_validator("quota_requests", "quota_burst", "quota_jobs", "quota_megapixels", "quota_waits")
    @classmethod
    def _valid_quota(cls, value: str, info: ValidationInfo) -> str:
        name = str(info.field_name).removeprefix("quota_")
        text = parse_quota(name, value) if value.strip() else ""
        if name == "burst" and text:
            check_together({name: text, "requests": info.data.get("quota_requests") or UNLIMITED})
        return text

    @property
    def replication(self) -> Replication:
        """The replicas to wait for."""
        return Replication(replicas=self.redis_wait_replicas, wait_s=self.redis_wait_s)

    @property
    def quotas(self) -> dict[str, str]:
        """The quotas that are set, by name."""
        quotas: dict[str, str] = {name: getattr(self, f"quota_{name}") for name in FORMS}
        return {name: text for name, text in quotas.items() if text}

    @property
    def bundle_names(self) -> tuple[str | None, ...]:
        """The bundles in `bundle`, the default one first; (None,) when it is unset."""
        return tuple(name.strip() for name in (self.bundle or "").split(",") if name.strip()) or (None,)

    @property
    def default_bundle(self) -> str | None:
        """The bundle of commands that use a single one."""
        return self.bundle_names[0]


def listed(text: str) -> tuple[str, ...]:
    """Returns the entries of a setting that are separated by commas."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Returns the settings of this process.

    Raises:
        ControlsError: the value of a variable is invalid; the message names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise ControlsError(f"{name}={first['input']!s}: {first['msg'].lower()}. Change it or unset it.") from error


def debug_enabled() -> bool:
    """Returns whether to show tracebacks; False while the settings themselves are invalid."""
    try:
        return settings().debug
    except ControlsError:
        return False


def unknown_settings() -> list[str]:
    """Returns a message for each UNDEGRADE_* variable that is not a setting, with the nearest name."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    messages = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            messages.append(f"{name} is not a setting" + (f"; did you mean {nearest[0]}?" if nearest else "."))
    return messages
