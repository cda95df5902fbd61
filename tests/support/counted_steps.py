"""Counts what the queue's scripts do inside Redis: commands, entries of their answers, and entries that they walk past.

A count depends on no clock and no load, so a test can say that an operation does not grow with the length of a line.
"""

from typing import Any

from redis.asyncio import Redis

STEPS = "undegrade:test-steps"
COUNTER = """
local steps, call, number = 0, redis.call, tonumber
local NODE = 200  -- entries of a list in one of its nodes, at the least: Redis walks along the nodes to an index
local function from_the_nearer_end(key, index)
    local length, index = call('LLEN', key), number(index)
    if index < 0 then index = length + index end
    return math.min(index, length - 1 - index)
end
local walk = {
    LPOS = function(_, key, id) return call('LPOS', key, id) or call('LLEN', key) end,
    LREM = function(_, key, count, id)
        if number(count) == 0 then return call('LLEN', key) end
        local at = call('LPOS', key, id, 'RANK', number(count) > 0 and 1 or -1)
        if not at then return call('LLEN', key) end
        return number(count) > 0 and at or call('LLEN', key) - 1 - at
    end,
    LINDEX = function(_, key, index) return math.floor(from_the_nearer_end(key, index) / NODE) end,
    LSET = function(_, key, index) return math.floor(from_the_nearer_end(key, index) / NODE) end,
    LRANGE = function(_, key, first) return math.floor(from_the_nearer_end(key, first) / NODE) end,
}
local function counted(...)
    local words = {...}
    local past = walk[words[1]] and walk[words[1]](...) or 0
    for i, word in ipairs(words) do if word == 'LIMIT' then past = past + number(words[i + 1]) end end
    local answer = call(...)
    steps = steps + 1 + past + (type(answer) == 'table' and #answer or 0)
    return answer
end
local redis = setmetatable({call = counted}, {__index = redis})
"""


class CountedRedis:
    """A Redis client whose scripts count their steps."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    def register_script(self, text: str) -> Any:
        """Returns the script, which adds the steps of each call to STEPS."""
        flags, newline, code = text.partition("\n") if text.startswith("#!") else ("", "", text)
        counting = (
            f"{COUNTER}\nlocal function script()\n{code}\nend\n"
            f"local answer = script()\ncall('INCRBY', '{STEPS}', steps)\nreturn answer\n"
        )
        return self._redis.register_script(flags + newline + counting)

    async def take_steps(self) -> int:
        """Returns the steps since the last call."""
        return int(await self._redis.getdel(STEPS) or 0)


async def traffic(redis: Redis) -> dict[str, int]:
    """Returns the calls of each command that clients and scripts have sent, and `bytes`: what Redis has answered."""
    stats = await redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(entry["calls"]) for name, entry in stats.items()}
    return {**calls, "bytes": int((await redis.info("stats"))["total_net_output_bytes"])}
