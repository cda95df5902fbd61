"""Loads the queue's Lua scripts and runs them with named arguments.

Each script starts with scripts/prelude.lua, which decodes the arguments.  KEY.name and LIMIT.name in a script become
the constant of `redis_keys`, so that Python and Lua share one spelling.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from jobs import redis_keys
from jobs.replication import NO_REPLICATION, Replication

FOLDER = Path(__file__).with_name("scripts")
PRELUDE = "prelude"
OUTBOX, QUOTAS, LINES = ("outbox",), ("quotas",), ("fair_share",)
STATES, LEDGER, ADMITS = ("states",), ("ledger",), ("ledger", "admission")
ENDS = (*LEDGER, *OUTBOX, *LINES, *STATES, "finish_and_requeue")
CLAIMS, LABELS, BATCHES, COSTS, PAGES = ("claims",), ("labels",), ("batches",), ("costs",), ("pages",)
"""`CLAIMS`: of each script that makes what a client may ask for twice with one Idempotency-Key."""
PARTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("lease", "release", "release_unheld", "reclaim", "cancel", "expire", "purge"), ENDS),
    **dict.fromkeys(("put_blob", "mark_blob", "drop_blobs", "unreserve"), LEDGER),
    "commit": (*ENDS, *COSTS),
    **dict.fromkeys(("forget_batch", "hold_batch", "withdraw_batch"), BATCHES),
    "list_batches": (*BATCHES, *PAGES),
    "seal_batch": (*CLAIMS, *BATCHES),
    "list_jobs": (*LABELS, *STATES, *PAGES),
    "submit": (*ADMITS, *QUOTAS, *LINES, *STATES, *CLAIMS, *LABELS, *BATCHES),
    "open_upload": (*ADMITS, *CLAIMS),
    "line": LINES,
    **dict.fromkeys(("report_progress", "index_states"), STATES),
    "reserve": ADMITS,
    **dict.fromkeys(("count_request", "take_quota", "settle_quota"), QUOTAS),
    "forget": (*LEDGER, *OUTBOX, *LINES, *STATES, *LABELS, *BATCHES),
    **dict.fromkeys(("claim_deliveries", "renew_deliveries", "settle_delivery", "redeliver", "adopt_hooks"), OUTBOX),
}
"""The shared parts that precede each script, after the prelude."""
REFUSED_WHEN_MEMORY_IS_FULL = {"submit", "reserve", "put_blob", "open_upload", "seal_batch"}
"""Every other script runs even at Redis' maxmemory: what has been accepted must be able to end."""
CONSTANT = re.compile(r"\b(KEY|LIMIT)\.(\w+)")
ALLOW_OUT_OF_MEMORY = "#!lua flags=allow-oom\n"


class LuaScripts:
    """The scripts of jobs/scripts by name.  Redis runs each one atomically."""

    def __init__(self, redis: "Redis", replication: Replication = NO_REPLICATION) -> None:
        self._redis: Any = redis  # redis-py annotates for str and bytes clients at once
        self.replication = replication
        parts = {path.stem: path.read_text() for path in FOLDER.glob("*.lua")}
        prelude = parts.pop(PRELUDE)
        shared = {name: parts.pop(name) for name in {part for needed in PARTS.values() for part in needed}}
        self._scripts = {
            name: redis.register_script(
                ("" if name in REFUSED_WHEN_MEMORY_IS_FULL else ALLOW_OUT_OF_MEMORY)
                + _with_constants(prelude + "".join(shared[part] for part in PARTS.get(name, ())) + text)
            )
            for name, text in parts.items()
        }  # fmt: skip

    async def run(self, script: str, binary: Mapping[str, bytes] | None = None, /, **arguments: object) -> Any:  # noqa: ANN401 - as Lua answers
        """Run a script: `arguments` are its `args` (None: nil); `binary`, which JSON cannot hold, is its `bytes`."""
        return await self._scripts[script](args=_words(arguments, binary))

    async def run_replicated(
        self, script: str, binary: Mapping[str, bytes] | None = None, /, **arguments: object
    ) -> Any:  # noqa: ANN401
        """Run a script, and return its answer when the replicas have what it has written.

        Raises:
            NotReplicated: they do not answer in time; the script has run.
        """
        words = _words(arguments, binary)
        if not self.replication.replicas:
            return await self._scripts[script](args=words)
        answers = await self._try_replicated(script, words)
        if isinstance(answers[0], NoScriptError):  # after a failover, or a restart
            await self._redis.script_load(self._scripts[script].script)
            answers = await self._try_replicated(script, words)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        self.replication.check(answers[-1])
        return answers[0]

    async def _try_replicated(self, script: str, words: list[str | bytes]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:  # WAIT belongs to the connection of the write
            pipeline.evalsha(self._scripts[script].sha, 0, *words)
            self.replication.add_to(pipeline)
            return list(await pipeline.execute(raise_on_error=False))


def _words(arguments: Mapping[str, object], binary: Mapping[str, bytes] | None) -> list[str | bytes]:
    words: list[str | bytes] = [json.dumps({key: value for key, value in arguments.items() if value is not None})]
    for key, data in (binary or {}).items():
        words += [key, data]
    return words


def _with_constants(script: str) -> str:
    """Returns a script with the values of `redis_keys` in place of KEY.name (a text) and LIMIT.name (a number).

    Tables of them, which Redis would make anew for each call, cost as much as the rest of a short script.
    """

    def value(found: re.Match[str]) -> str:
        constant = getattr(redis_keys, found[2].upper())
        return f"'{constant}'" if found[1] == "KEY" else f"({constant})"

    return CONSTANT.sub(value, script)
