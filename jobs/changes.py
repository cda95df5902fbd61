"""Hears of changes of jobs at one server: only of the jobs that somebody in this process waits for.

Each job has two channels, so that a wait for its end does not hear of its steps.  One connection has all subscriptions
of the process, and two tasks: the first writes SUBSCRIBE and UNSUBSCRIBE, the second reads answers and messages.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from jobs import redis_keys
from jobs.end_tasks import run_together

QUIET_S = 5.0
"""After so long without a message, the server is asked for one; after as long again, it counts as gone."""
MAX_AT_ONCE = 1000
"""Channels in one command."""


def channels_of(job: str, only_end: bool) -> tuple[str, ...]:
    """Returns the channels on which the changes of a job are published, or its end alone."""
    end = redis_keys.END_OF_JOB + job
    return (end,) if only_end else (end, redis_keys.CHANGES_OF_JOB + job)


class Hearer(Protocol):
    """Hears of some channels."""

    def subscribed(self, channel: str) -> None:
        """From now on, no change on this channel is missed; changes before this moment may have been."""

    def changed(self) -> None:
        """There was a change on one of the channels, or there may have been one."""


class Changes:
    """The hearers at one server, and the subscriptions that they need while `listen` runs.

    Its methods must be called on the thread of the event loop.
    """

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._hearers: dict[str, set[Hearer]] = {}
        self._connected = False
        self._asked: set[str] = set()
        self._unanswered: Counter[str] = Counter()
        self._to_check: set[str] = set()
        self._wake = asyncio.Event()
        self._ping = False

    def add(self, hearer: Hearer, channels: Iterable[str]) -> set[str]:
        """Tell `hearer` of these channels.  Returns those of which it must wait for `subscribed`.

        Without a connection, they are none: there is nothing to wait for, and `subscribed` comes with the next one.
        """
        waiting = set()
        for channel in channels:
            self._hearers.setdefault(channel, set()).add(hearer)
            if self._connected and (channel not in self._asked or self._unanswered[channel]):
                waiting.add(channel)
                self._check(channel)
        return waiting

    def remove(self, hearer: Hearer, channels: Iterable[str]) -> None:
        """Tell `hearer` no more.  The last one of a channel ends its subscription."""
        for channel in channels:
            hearers = self._hearers.get(channel, set())
            hearers.discard(hearer)
            if not hearers:
                self._hearers.pop(channel, None)
                self._check(channel)

    def _check(self, channel: str) -> None:
        self._to_check.add(channel)
        self._wake.set()

    async def listen(self, redis: "Redis") -> None:
        """Subscribe to all channels with hearers, and tell the hearers of changes, until the connection is lost.

        Raises:
            redis.exceptions.RedisError: the connection is lost, or the server has not answered for twice `quiet_s`.
        """
        pool: Any = redis.connection_pool
        connection = await pool.get_connection()
        try:
            self._asked, self._unanswered, self._ping = set(), Counter(), False
            self._to_check = set(self._hearers)
            self._connected = True
            self._wake.set()
            await run_together(self._read(connection), self._write(connection))
        finally:
            self._connected = False
            await connection.disconnect(nowait=True)
            await pool.release(connection)
            self.notify_all()  # messages may have been lost

    def notify_all(self) -> None:
        """Tell each hearer that there may have been a change."""
        for hearers in self._hearers.values():
            for hearer in hearers:
                hearer.changed()

    async def _write(self, connection: Any) -> None:  # noqa: ANN401 - redis-py annotates for all connections at once
        while True:
            await self._wake.wait()
            self._wake.clear()
            checked, self._to_check = self._to_check, set()
            drop = [channel for channel in checked & self._asked if channel not in self._hearers]
            add = [channel for channel in checked - self._asked if channel in self._hearers]
            self._asked.difference_update(drop)
            self._asked.update(add)
            self._unanswered.update(add)
            for command, channels in (("UNSUBSCRIBE", drop), ("SUBSCRIBE", add)):
                for first in range(0, len(channels), MAX_AT_ONCE):
                    some = channels[first : first + MAX_AT_ONCE]
                    await connection.send_command(command, *some, check_health=False)
            if self._ping:
                self._ping = False
                await connection.send_command("PING", check_health=False)

    async def _read(self, connection: Any) -> None:  # noqa: ANN401
        waits_for_pong = False
        while True:
            answer = await connection.read_response(timeout=self._quiet_s, disconnect_on_error=False, push_request=True)
            if answer is None and waits_for_pong:
                raise RedisTimeout(f"the subscription got no answer for {self._quiet_s:g} s")
            waits_for_pong = answer is None
            if answer is None:
                self._ping = True
                self._wake.set()
            elif isinstance(answer, list):
                self._take(_text(answer[0]), _text(answer[1]))

    def _take(self, kind: str, channel: str) -> None:
        if kind == "message":
            for hearer in tuple(self._hearers.get(channel, ())):
                hearer.changed()
        elif kind == "subscribe":
            self._unanswered[channel] -= 1
            if self._unanswered[channel] > 0:  # it was left, and subscribed to again
                return
            del self._unanswered[channel]
            if channel in self._asked:  # else it was left: an answer to the next SUBSCRIBE counts
                for hearer in tuple(self._hearers.get(channel, ())):
                    hearer.subscribed(channel)


def _text(word: bytes | str) -> str:
    return word.decode() if isinstance(word, bytes) else word
