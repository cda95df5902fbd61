"""Runs the coroutine of a program that stays: on uvloop, and with its imports out of the garbage collector's way."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, as `asyncio.run` does.

    uvloop's many small callbacks cost less than those of asyncio's own loop.
    """
    _freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def _freeze() -> None:
    """Take what the imports have made out of the collector's sight.

    CPython looks at old objects only when a quarter as many have come as there are.  Beside the 800,000 of torch that
    is seldom, and until then the cycles of jobs that are over stay in memory.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # counts what is left
