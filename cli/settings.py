"""What the environment says, read once; an unknown UNDEGRADE_* is named with the nearest known one."""

import difflib
import os
from functools import lru_cache
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import ControlsError

PREFIX = "UNDEGRADE_"


class Settings(BaseSettings):
    """Command-line options win over these."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    bundle: str | None = None
    """Name or folder of the bundle; the shipped one when unset.  `worker` and `serve` take several, with commas."""
    bundles: str = ""
    """Folders to look for bundles in, separated like PATH; fetched ones go to the first."""
    registry: str | None = None
    """The registry file of `models pull`; the shipped one when unset."""
    offline: bool = False
    """`models pull` never touches the network."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    cuda_graphs: bool = True
    """Replay the denoiser as CUDA graphs; a driver that dislikes it can do without."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of torch; all cores when unset."""
    debug: bool = False
    """Show tracebacks instead of sentences."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """The Redis of `api`, `worker` and `keys`; `serve` starts one of its own unless this is set."""
    store_url: str = "redis://"
    """Where pictures are kept: redis://, file:///FOLDER, s3://BUCKET/PREFIX, memory:// (one process only)."""
    host: str = "127.0.0.1"
    """The address that the API listens on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port of the API."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """The port of /metrics; none when unset."""
    auth: Literal["auto", "on", "off"] = "auto"
    """Whether an API key is asked for; auto: once there is one."""
    max_batch: int | None = Field(default=None, ge=1, le=256)
    """The most images of one denoising step; 8 on CUDA and 1 on a CPU when unset."""
    max_queued: int = Field(default=1000, ge=1)
    """The most jobs in line; beyond, submissions are answered 503."""
    max_megapixels: float = Field(default=50.0, gt=0)
    """The largest image."""
    max_megabytes: float = Field(default=30.0, gt=0)
    """The largest upload."""
    keep_s: int = Field(default=24 * 3600, ge=1)
    """How long a job and its pictures are kept after its end."""
    grace_s: float = Field(default=30.0, ge=0)
    """How long a worker that is told to end works on what it has in hand."""
    data: str | None = None
    """The folder of `serve`'s own Redis; a folder below the user's state folder when unset."""

    @property
    def served(self) -> tuple[str | None, ...]:
        """The bundles that `bundle` names, the default one first; (None,) when it is unset."""
        return tuple(name.strip() for name in (self.bundle or "").split(",") if name.strip()) or (None,)

    @property
    def default_bundle(self) -> str | None:
        """The one for commands that take one."""
        return self.served[0]


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process.

    Raises:
        ControlsError: a variable's value is of the wrong kind; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise ControlsError(f"{name}={first['input']!s}: {first['msg'].lower()}. Change it or unset it.") from error


def debugging() -> bool:
    """Whether tracebacks are wanted; not while the settings themselves are wrong."""
    try:
        return settings().debug
    except ControlsError:
        return False


def unknown_settings() -> list[str]:
    """A sentence for each UNDEGRADE_* variable that nothing reads."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    sentences = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            sentences.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "."))
    return sentences
