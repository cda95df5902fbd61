"""What the environment says, read once; an unknown UNDEGRADE_* is named with the nearest known one."""

import difflib
import os
from functools import lru_cache

from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "UNDEGRADE_"


class Settings(BaseSettings):
    """Command-line options win over these."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    bundle: str | None = None
    """Name or folder of the bundle; the shipped one when unset."""
    bundles: str = ""
    """Folders to look for bundles in, separated like PATH."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads of torch; all cores when unset."""
    debug: bool = False
    """Show tracebacks instead of sentences."""


@lru_cache(maxsize=1)
def settings() -> Settings:
    return Settings()


def unknown_settings() -> list[str]:
    """A sentence for each UNDEGRADE_* variable that nothing reads."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    sentences = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            sentences.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "."))
    return sentences
