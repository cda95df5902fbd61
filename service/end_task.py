"""Ends background tasks, also those whose libraries swallow a cancellation."""

import asyncio

CANCEL_AGAIN_S = 0.05


async def end_task(task: "asyncio.Task[None]") -> None:
    """Cancel a task until it is done.

    redis-py swallows a cancellation that arrives while it connects: the task then waits for ever, and the process with
    it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
