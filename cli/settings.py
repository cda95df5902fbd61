"""What the environment says, read once; an unknown UNDEGRADE_* is named with the nearest known one."""

import difflib
import os
from functools import lru_cache

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import ControlsError

PREFIX = "UNDEGRADE_"


class Settings(BaseSettings):
    """Command-line options win over these."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    bundle: str | None = None
    """Name or folder of the bundle; the shipped one when unset."""
    bundles: str = ""
    """Folders to look for bundles in, separated like PATH."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of torch; all cores when unset."""
    debug: bool = False
    """Show tracebacks instead of sentences."""


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
