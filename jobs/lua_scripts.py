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
PRELUDE = "prelude"
OUTBOX, QUOTAS, LINES = ("outbox",), ("quotas",), ("fair_share",)
ENDS, LEDGER, ADMITS = ("ledger", *OUTBOX, *LINES, "finish_and_requeue"), ("ledger",), ("ledger", "admission")
CLAIMS, LABELS, BATCHES, COSTS, PAGES = ("claims",), ("labels",), ("batches",), ("costs",), ("pages",)
"""`CLAIMS`: of each script that makes what a client may ask for twice with one Idempotency-Key."""
PARTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("lease", "release", "release_unheld", "reclaim", "cancel", "expire", "purge"), ENDS),
    **dict.fromkeys(("put_blob", "mark_blob", "drop_blobs", "unreserve"), LEDGER),
    "commit": (*ENDS, *COSTS),
    "forget_batch": BATCHES,
    "list_batches": (*BATCHES, *PAGES),
    "seal_batch": (*CLAIMS, *BATCHES),
    "list_jobs": (*LABELS, *PAGES),
    "submit": (*ADMITS, *QUOTAS, *LINES, *CLAIMS, *LABELS, *BATCHES),
    "open_upload": (*ADMITS, *CLAIMS),
    "line": LINES,
    "reserve": ADMITS,
    "count_request": QUOTAS,
    "forget": ("ledger", *OUTBOX, *LINES, *LABELS, *BATCHES),
    **dict.fromkeys(("claim_deliveries", "renew_deliveries", "settle_delivery", "redeliver", "adopt_hooks"), OUTBOX),
}
"""The shared parts that precede each script, after the prelude."""
REFUSED_WHEN_MEMORY_IS_FULL = {"submit", "reserve", "put_blob", "open_upload", "seal_batch"}
"""Every other script runs even at Redis' maxmemory: what has been accepted must be able to end."""
ALLOW_OUT_OF_MEMORY = "#!lua flags=allow-oom\n"


class LuaScripts:
    """The scripts of jobs/scripts by name.  Redis runs each one atomically."""

    def __init__(self, redis: "Redis") -> None:
        parts = {path.stem: path.read_text() for path in FOLDER.glob("*.lua")}
        prelude = _tables() + parts.pop(PRELUDE)
        shared = {name: parts.pop(name) for name in {part for needed in PARTS.values() for part in needed}}
        self._scripts = {
            name: redis.register_script(
                ("" if name in REFUSED_WHEN_MEMORY_IS_FULL else ALLOW_OUT_OF_MEMORY)
                + prelude + "".join(shared[part] for part in PARTS.get(name, ())) + text
            )
            for name, text in parts.items()
        }  # fmt: skip

    async def run(self, script: str, binary: Mapping[str, bytes] | None = None, /, **arguments: object) -> Any:  # noqa: ANN401 - as Lua answers
        """Run a script: `arguments` are its `args` (None: nil); `binary`, which JSON cannot hold, is its `bytes`."""
        words: list[str | bytes] = [json.dumps({key: value for key, value in arguments.items() if value is not None})]
        for key, data in (binary or {}).items():
            words += [key, data]
        return await self._scripts[script](args=words)


def _tables() -> str:
    """`KEY` (texts) and `LIMIT` (numbers): the constants of `redis_keys` by their names in lower case."""
    constants = {name.lower(): value for name, value in vars(redis_keys).items() if name.isupper()}
    keys = ", ".join(f"{name} = '{value}'" for name, value in constants.items() if isinstance(value, str))
    limits = ", ".join(f"{name} = {value}" for name, value in constants.items() if isinstance(value, int))
    return f"local KEY = {{{keys}}}\nlocal LIMIT = {{{limits}}}\n"
