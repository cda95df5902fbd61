"""Loads the queue's Lua scripts and runs them with named arguments.

Each script starts with two tables, which are rendered from `redis_keys` (so that Python and Lua share one spelling),
and with scripts/prelude.lua, which decodes the arguments.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys

FOLDER = Path(__file__).with_name("scripts")
PRELUDE, FINISH_AND_REQUEUE = "prelude", "finish_and_requeue"
"""Parts of scripts, not scripts."""
USE_FINISH_AND_REQUEUE = {"lease", "commit", "release", "release_unheld", "reclaim", "cancel"}


class LuaScripts:
    """The scripts of jobs/scripts by name.  Redis runs each one atomically."""

    def __init__(self, redis: "Redis") -> None:
        parts = {path.stem: path.read_text() for path in FOLDER.glob("*.lua")}
        prelude, finish_and_requeue = _tables() + parts.pop(PRELUDE), parts.pop(FINISH_AND_REQUEUE)
        self._scripts = {
            name: redis.register_script(prelude + (finish_and_requeue if name in USE_FINISH_AND_REQUEUE else "") + text)
            for name, text in parts.items()
        }

    async def run(self, name: str, binary: Mapping[str, bytes] | None = None, **arguments: object) -> Any:  # noqa: ANN401 - as Lua answers
        """Run a script: `arguments` are its `args` (None: nil); `binary`, which JSON cannot hold, is its `bytes`."""
        words: list[str | bytes] = [json.dumps({key: value for key, value in arguments.items() if value is not None})]
        for key, data in (binary or {}).items():
            words += [key, data]
        return await self._scripts[name](args=words)


def _tables() -> str:
    """`KEY` (texts) and `LIMIT` (numbers): the constants of `redis_keys` by their names in lower case."""
    constants = {name.lower(): value for name, value in vars(redis_keys).items() if name.isupper()}
    keys = ", ".join(f"{name} = '{value}'" for name, value in constants.items() if isinstance(value, str))
    limits = ", ".join(f"{name} = {value}" for name, value in constants.items() if isinstance(value, int))
    return f"local KEY = {{{keys}}}\nlocal LIMIT = {{{limits}}}\n"
