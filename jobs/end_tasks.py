"""Ends background tasks, also those whose libraries swallow a cancellation.

redis-py swallows a cancellation that arrives while it connects.  A task that repeats its work for ever then goes on,
and the process with it: so every such task is canceled until it is done.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

CANCEL_AGAIN_S = 0.2


async def end_tasks(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks until all are done.  Their results and errors are dropped.

    A cancellation of the caller is raised afterwards, so that no task is left behind.
    """
    canceled = None
    while left := {task for task in tasks if not task.done()}:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        except asyncio.CancelledError as error:
            canceled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asyncio logs errors that nobody has looked at
    if canceled is not None:
        raise canceled


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run endless works until one fails or the caller is canceled; all have ended when it returns.

    `asyncio.gather` returns with the first that is canceled and leaves one that swallowed its cancellation running.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end_tasks(*tasks)
